"""Legs that stand on the ground, as rotations of bones."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reid.sites.rendered.body.body import Body, Shape
from reid.sites.rendered.body.rotations import MIRROR, Doubles, about, about_x, about_y, about_z, frame, unit
from reid.sites.rendered.body.skeleton import SIDES, Contact, Leg, landmarks

LEFT = np.array([1.0, 0.0, 0.0])
KNEE_LEAST = math.radians(2)  # a knee never bends backwards, and is never quite straight
KNEE_MOST = math.radians(125)
TOES_BEND = math.radians(32)  # how far shoes let the toes bend
FOOT_LOWEST = math.radians(-75)  # pitch of a foot on its toes
SWING_CLEAR = 0.012  # metres between ground and a swinging foot, at least
LIFT_STEP = math.radians(4)  # by which a swinging knee is bent until it is


@dataclass(frozen=True)
class LegRest:
    """A leg at rest, as if it were the left one."""

    hip: Doubles
    thigh: Doubles  # vectors
    shank: Doubles
    ankle: Doubles
    sole: Doubles  # (N, 3) from the ankle
    with_toes: NDArray[np.bool_]  # (N,)
    ball: Doubles  # the toes' joint from the ankle


def leg_rest(body: Body, shape: Shape, side: int) -> LegRest:
    name, mirror = SIDES[side], MIRROR if side else np.eye(3)
    hip, knee, ankle, ball = (
        mirror @ shape.heads[body.bone(f"{bone}.{name}")].astype(np.float64)
        for bone in ("upperleg01", "lowerleg01", "foot", "toes")
    )
    marks = landmarks(body)
    sole = shape.vertices["body"][marks.soles[side]].astype(np.float64) @ mirror - ankle
    return LegRest(hip, knee - hip, ankle - knee, ankle, sole, marks.toes[side], ball - ankle)


def _foot_rotations(pitch: float, out: float) -> tuple[Doubles, Doubles]:
    """Of foot and toes; the toes lie flat as far as the shoe lets them when the heel is raised."""
    yaw = about_z(out)
    bend = min(max(-pitch, 0.0), TOES_BEND)
    return yaw @ about_x(-pitch), yaw @ about_x(-(pitch + bend))


def _lowest(rest: LegRest, foot: Doubles, toes: Doubles) -> float:
    """Height of the sole's lowest point, from the ankle."""
    heights = np.where(rest.with_toes, rest.ball @ foot[2] + (rest.sole - rest.ball) @ toes[2], rest.sole @ foot[2])
    return float(heights.min())


def _leg_rotations(rest: LegRest, leg: Leg, knee: float) -> tuple[Doubles, Doubles]:
    """Of thigh and shank."""
    length = float(np.linalg.norm(rest.thigh) + np.linalg.norm(rest.shank))
    sideways = math.asin(rest.hip[0] * (leg.spread - 1) / length)
    tilt = about_y(-sideways)
    thigh = tilt @ np.array([0.0, -math.sin(leg.thigh), -math.cos(leg.thigh)])
    hinge = about_z(leg.out / 2) @ LEFT
    upper = frame(thigh, hinge)
    shank = about(upper[:, 1], knee) @ thigh
    rest_upper, rest_lower = unit(rest.thigh), unit(rest.shank)
    return upper @ frame(rest_upper, LEFT).T, frame(shank, hinge) @ frame(rest_lower, LEFT).T


def _bisected(function: Callable[[float], float], low: float, high: float) -> float:
    """Where a rising function is 0 between two arguments, to a ten-thousandth of their distance; an end if nowhere."""
    if function(low) >= 0:
        return low
    if function(high) <= 0:
        return high
    for _ in range(13):
        middle = (low + high) / 2
        if function(middle) < 0:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def _height(rest: LegRest, thigh: Doubles, shank: Doubles) -> float:
    """Of the ankle, from the hip joint."""
    return float(thigh[2] @ rest.thigh + shank[2] @ rest.shank)


def leg_rotations(
    rests: Sequence[LegRest], legs: Sequence[Leg], support: int, hips: Sequence[float]
) -> list[tuple[Doubles, Doubles, Doubles, Doubles]]:
    """Thigh, shank, foot and toes of left and right, as if each were a left leg.

    ``hips``: heights of the hip joints in the posed pelvis. The leg that carries is as its angles say; the other one is
    made to touch the ground or to stay clear of it.
    """
    done: list[tuple[Doubles, Doubles, Doubles, Doubles]] = [(np.eye(3),) * 4, (np.eye(3),) * 4]
    leg, rest = legs[support], rests[support]
    thigh, shank = _leg_rotations(rest, leg, max(leg.knee, KNEE_LEAST))
    foot, toes = _foot_rotations(leg.foot, leg.out)
    done[support] = thigh, shank, foot, toes
    ground = hips[support] + _height(rest, thigh, shank) + _lowest(rest, foot, toes)

    other = 1 - support
    leg, rest = legs[other], rests[other]
    target = ground - hips[other]  # of the sole's lowest point, from the hip joint
    knee, pitch = max(leg.knee, KNEE_LEAST), leg.foot
    if leg.contact == Contact.FLAT:
        wanted = target - _lowest(rest, *_foot_rotations(pitch, leg.out))
        # bent less than this, the shank would point forward of the vertical
        least = max(KNEE_LEAST, leg.thigh)
        knee = _bisected(lambda bend: _height(rest, *_leg_rotations(rest, leg, bend)) - wanted, least, KNEE_MOST)
    elif leg.contact == Contact.TOES:
        wanted = target - _height(rest, *_leg_rotations(rest, leg, knee))
        pitch = _bisected(lambda angle: _lowest(rest, *_foot_rotations(angle, leg.out)) - wanted, FOOT_LOWEST, pitch)
    thigh, shank = _leg_rotations(rest, leg, knee)
    foot, toes = _foot_rotations(pitch, leg.out)
    while (
        leg.contact != Contact.FLAT
        and knee < KNEE_MOST
        and _height(rest, thigh, shank) + _lowest(rest, foot, toes)
        < target + SWING_CLEAR * (leg.contact == Contact.AIR) - 1e-3
    ):
        knee += LIFT_STEP
        thigh, shank = _leg_rotations(rest, leg, knee)
    done[other] = thigh, shank, foot, toes
    return done
