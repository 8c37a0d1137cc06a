"""What legs and trunk do in a stride, as textbooks of gait draw it; angles in degrees here, radians in what is made."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from reid.sites.rendered.body.skeleton import Contact, Leg

# Phase of one leg: 0 where its heel strikes, 1 at the next strike.
# thigh: forward of the vertical; knee: bend; foot: toes up against the ground, 0 flat
WALK_THIGH = ((0.0, 25), (0.12, 20), (0.35, -1), (0.52, -17), (0.6, -12), (0.72, 10), (0.86, 27), (0.94, 27), (1.0, 25))
WALK_KNEE = (
    (0.0, 5),
    (0.13, 17),
    (0.35, 6),
    (0.44, 6),
    (0.54, 18),
    (0.62, 38),
    (0.72, 60),
    (0.83, 38),
    (0.95, 5),
    (1.0, 5),
)
WALK_FOOT = (
    (0.0, 20),
    (0.08, 2),
    (0.11, 0),
    (0.36, 0),
    (0.5, -20),
    (0.62, -56),
    (0.72, -42),
    (0.85, 0),
    (0.94, 18),
    (1.0, 20),
)
RUN_THIGH = ((0.0, 30), (0.15, 12), (0.32, -22), (0.42, -26), (0.6, 8), (0.78, 45), (0.9, 40), (1.0, 30))
RUN_KNEE = ((0.0, 18), (0.15, 38), (0.32, 18), (0.42, 30), (0.6, 92), (0.78, 78), (0.92, 25), (1.0, 18))
RUN_FOOT = ((0.0, 6), (0.1, 0), (0.18, 0), (0.34, -35), (0.45, -75), (0.65, -62), (0.85, -2), (1.0, 6))
CARRIES = 0.62  # phase at which a walker's toes leave the ground
RUN_CARRIES = 0.36

Curve = tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Stride:
    """How somebody's legs move; shares of the textbook's angles."""

    length: float = 1.0  # of the thigh's swing
    lift: float = 1.0  # of the swinging knee's bend
    out: float = 0.12  # toes outwards, radians
    spread: float = 0.45  # ankles from the mid-line, a share of the hip joints' distance from it


def _read(curve: Curve, phase: float) -> float:
    """Radians at a phase of any size."""
    places, degrees = zip(*curve, strict=True)
    return math.radians(float(np.interp(phase % 1.0, places, degrees)))


def stride_legs(stride: Stride, phase: float, running: bool = False) -> tuple[tuple[Leg, Leg], int]:
    """Both legs at the left one's phase, and which carries (0 left, 1 right)."""
    thighs, knees, feet = (RUN_THIGH, RUN_KNEE, RUN_FOOT) if running else (WALK_THIGH, WALK_KNEE, WALK_FOOT)
    carries = RUN_CARRIES if running else CARRIES
    phases = (phase % 1.0, (phase + 0.5) % 1.0)
    support = 0 if phases[0] < phases[1] else 1  # the leg that struck later
    legs = []
    for side, place in enumerate(phases):
        on_ground = place < carries and not running
        legs.append(
            Leg(
                thigh=stride.length * _read(thighs, place),
                knee=_read(knees, place) * (stride.lift if place > carries else stride.length),
                foot=_read(feet, place) * min(stride.length, 1.1),
                out=stride.out,
                spread=stride.spread,
                contact=Contact.TOES if on_ground and side != support else Contact.AIR,
            )
        )
    return (legs[0], legs[1]), support
