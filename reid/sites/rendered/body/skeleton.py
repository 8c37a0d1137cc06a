"""Bones turned as a pose says, and the vertices that follow them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from reid.sites.compiled import compiled
from reid.sites.rendered.body.body import Body, Floats, Ints, Shape
from reid.sites.rendered.body.rotations import Doubles

SIDES = ("L", "R")
SPINE = ("spine05", "spine04", "spine03", "spine02", "spine01")


class Contact(IntEnum):
    """What a foot that does not carry does."""

    AIR = 0  # it swings, clear of the ground
    TOES = 1  # its ball or heel touches the ground: the foot's pitch follows
    FLAT = 2  # its sole stands on the ground: the knee's bend follows


class Action(IntEnum):
    """What an arm does."""

    HANG = 0  # hangs and swings, with or without a bag in the hand
    EAR = 1  # holds a phone at the ear
    SCREEN = 2  # holds a phone before the chest
    POCKET = 3
    BACK = 4  # lies behind the back
    STRAP = 5  # holds a strap before the shoulder
    HOLD = 6  # holds something before the belly


@dataclass(frozen=True)
class Leg:
    """Angles in radians."""

    thigh: float  # forward of the vertical
    knee: float  # bend; never negative
    foot: float  # toes up
    out: float  # toes outwards
    spread: float  # ankle from the mid-line, a share of the hip joint's distance from it
    contact: Contact = Contact.AIR


@dataclass(frozen=True)
class Arm:
    """Angles in radians. Of aimed actions (all but HANG) only the last four count."""

    action: Action = Action.HANG
    swing: float = 0.0  # upper arm forward of the vertical
    apart: float = 0.15  # upper arm from the vertical, sideways, at least: more if the torso is in the way
    elbow: float = 0.3  # bend
    inward: float = 0.3  # upper arm turned so that a bent forearm points inwards
    aim: tuple[float, float, float] = (0.0, 0.0, 0.0)  # metres outwards, backwards, upwards of the usual place
    pronation: float = 0.0  # hand turned: its back to the front when the arm hangs
    curl: float = 0.5  # fingers: 0 straight, 1 a fist
    wrist: float = 0.0  # hand bent to the palm's side


@dataclass(frozen=True)
class Pose:
    """Where somebody's bones are. Angles in radians; yaw is to the left, pitch forward, roll to the left."""

    legs: tuple[Leg, Leg]  # left, right
    arms: tuple[Arm, Arm]
    support: int  # the leg that carries: 0 left, 1 right
    pelvis: tuple[float, float, float]  # yaw, pitch, roll
    chest: tuple[float, float, float]
    head: tuple[float, float, float]
    shrug: float = 0.0  # both shoulders raised
    round: float = 0.0  # both shoulders forward


# -------------------------------------------------------------------------------------------------- joints and surfaces


@dataclass(frozen=True)
class Landmarks:
    """What a pose asks of a body's surface: indices of vertices of its part "body"."""

    soles: tuple[Ints, Ints]  # of each foot, the lowest: heel, ball, toes
    toes: tuple[NDArray[np.bool_], NDArray[np.bool_]]  # which of them move with the toes
    sides: Ints  # (N,) outermost on the left, from thigh to armpit
    fronts: Ints  # (N,) foremost
    backs: Ints  # (N,) rearmost


LEVELS = np.linspace(-0.30, 0.42, 19)  # where the torso and thighs are measured: z on the average adult
SOLE = 0.02  # metres above the ground up to which vertices belong to the sole
SOLE_STEP = 4  # every so many of them is looked at


@lru_cache(maxsize=4)
def landmarks(body: Body) -> Landmarks:
    """Found once a body, on its average adult."""
    part = body.parts["body"]
    points = part.reference
    strongest = part.bones[:, 0]
    foot_bones = [[body.bone(f"{bone}.{side}") for bone in ("foot", "toes")] for side in SIDES]
    floor = points[:, 2].min() + SOLE
    soles = tuple(
        np.flatnonzero(np.isin(strongest, bones) & (points[:, 2] < floor))[::SOLE_STEP].astype(np.int32)
        for bones in foot_bones
    )
    core = [body.bone(bone) for bone in ("root", *SPINE)]
    core += [body.bone(f"{bone}.{side}") for side in SIDES for bone in ("pelvis", "upperleg01", "upperleg02")]
    torso = np.isin(strongest, core)
    sides, fronts, backs = [], [], []
    for level in LEVELS:
        ring = np.flatnonzero(torso & (np.abs(points[:, 2] - level) < 0.025))
        middle = ring[np.abs(points[ring, 0]) < 0.12]
        sides.append(ring[points[ring, 0].argmax()])
        fronts.append(middle[points[middle, 1].argmin()])
        backs.append(middle[points[middle, 1].argmax()])
    return Landmarks(
        soles=(soles[0], soles[1]),
        toes=(strongest[soles[0]] == foot_bones[0][1], strongest[soles[1]] == foot_bones[1][1]),
        sides=np.array(sides, np.int32),
        fronts=np.array(fronts, np.int32),
        backs=np.array(backs, np.int32),
    )


@dataclass(frozen=True)
class Torso:
    """Half width, front and back of torso and thighs at rising heights, at rest; metres."""

    heights: Doubles
    widths: Doubles
    fronts: Doubles
    backs: Doubles

    def at(self, height: float) -> tuple[float, float, float]:
        """Half width, y of the front, y of the back."""
        return (
            float(np.interp(height, self.heights, self.widths)),
            float(np.interp(height, self.heights, self.fronts)),
            float(np.interp(height, self.heights, self.backs)),
        )


def torso_of(body: Body, shape: Shape, clearance: float) -> Torso:
    """Measured on a shape; ``clearance``: metres of cloth around it."""
    marks, points = landmarks(body), shape.vertices["body"]
    heights = points[marks.sides, 2].astype(np.float64)
    return Torso(
        heights=np.maximum.accumulate(heights),
        widths=points[marks.sides, 0] + clearance,
        fronts=points[marks.fronts, 1].astype(np.float64) - clearance,
        backs=points[marks.backs, 1].astype(np.float64) + clearance,
    )


# ------------------------------------------------------------------------------------------------------------ skinning


@compiled
def chain(parents: Ints, heads: Doubles, rotations: Doubles, given: NDArray[np.bool_], matrices: Doubles) -> None:
    """Fill ``matrices`` (B, 4, 4): rest position -> posed. ``rotations`` (B, 3, 3) are to the world; a bone that is not
    ``given`` one turns with its parent, and takes its parent's in place."""
    for bone in range(len(parents)):
        parent = parents[bone]
        if not given[bone]:
            for i in range(3):
                for j in range(3):
                    rotations[bone, i, j] = rotations[parent, i, j]
        for i in range(3):
            if parent < 0:
                place = heads[bone, i]
            else:
                place = matrices[parent, i, 3]
                for j in range(3):
                    place += matrices[parent, i, j] * heads[bone, j]
            for j in range(3):
                matrices[bone, i, j] = rotations[bone, i, j]
                place -= rotations[bone, i, j] * heads[bone, j]
            matrices[bone, i, 3] = place
        matrices[bone, 3, 3] = 1.0


@compiled
def skin(vertices: Floats, bones: Ints, weights: Floats, matrices: Floats) -> Floats:
    """Posed vertices (V, 3) of rest vertices (V, 3), moved by bones (V, 4) in shares (V, 4); ``matrices`` (B, 4, 4)."""
    posed = np.zeros_like(vertices)
    for i in range(vertices.shape[0]):
        x, y, z = vertices[i, 0], vertices[i, 1], vertices[i, 2]
        for k in range(bones.shape[1]):
            weight = weights[i, k]
            if weight > 0:
                m = matrices[bones[i, k]]
                posed[i, 0] += weight * (m[0, 0] * x + m[0, 1] * y + m[0, 2] * z + m[0, 3])
                posed[i, 1] += weight * (m[1, 0] * x + m[1, 1] * y + m[1, 2] * z + m[1, 3])
                posed[i, 2] += weight * (m[2, 0] * x + m[2, 1] * y + m[2, 2] * z + m[2, 3])
    return posed
