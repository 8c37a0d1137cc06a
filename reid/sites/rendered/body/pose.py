"""How somebody moves, and the poses that come of it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum

import numpy as np

from reid.sites.rendered.body.arms import Surroundings, arm_rest, arm_rotations
from reid.sites.rendered.body.body import Body, Floats, Shape
from reid.sites.rendered.body.gait import Stride, stride_legs
from reid.sites.rendered.body.legs import leg_rest, leg_rotations
from reid.sites.rendered.body.rotations import MIRROR, Doubles, about_y, about_z, mirrored, turned
from reid.sites.rendered.body.skeleton import (
    SIDES,
    SPINE,
    Action,
    Arm,
    Contact,
    Leg,
    Pose,
    chain,
    landmarks,
    skin,
    torso_of,
)

# Shares of images; the rest walk
RUNNING, STANDING = 0.025, 0.14
# Shares of poses in which free arms do something else than hang, walking and standing
PHONE_EAR, PHONE_SCREEN = (0.03, 0.06), (0.07, 0.13)
POCKETS, BEHIND, HELD = (0.08, 0.16), (0.025, 0.06), (0.02, 0.04)
ONE_SIDED = 0.55  # of those who put hands in pockets, a single one
STRAP_HELD = 0.35  # of bags over the shoulder, with the hand at the strap
STRAPS_HELD = 0.12  # of rucksacks, with both
SCREEN_BOTH = 0.3  # of phones before the chest, in both hands
HEAD_TURNED = 0.22  # of heads, turned well aside
# Angles in radians
APART_LEAST, APART_USUAL = math.radians(5), math.radians(8)  # upper arms from the vertical: they hang by the torso
APART_LARGEST = math.radians(15)
HEAD_YAW_MOST = math.radians(60)
HEAD_PITCH_MOST = math.radians(45)
LEAN_MOST = math.radians(14)
PELVIS_DROP = math.radians(4)  # of the side whose leg swings
PELVIS_YAW = math.radians(6)  # forward on the side of the forward leg
CHEST_YAW = math.radians(6)  # against the pelvis
HIP_OUT = math.radians(5)  # pelvis of those who stand on one leg
# the shoulders of hanging arms: at rest the body has its arms spread and its shoulders raised
CLAVICLE_DROP, SHOULDER_DROP = math.radians(3), math.radians(9)
CURL_LEAST = 0.25  # no hand is held flat
RUN_ELBOW = math.radians(85)
SCREEN_LOOK = math.radians(24)  # down at a phone
AIM_SPREAD = np.array([0.012, 0.015, 0.03])  # metres, of the places that hands reach for
PRONATIONS = {
    Action.EAR: 0.0,
    Action.SCREEN: -0.7,
    Action.POCKET: 0.2,
    Action.BACK: 0.6,
    Action.STRAP: 0.3,
    Action.HOLD: -0.3,
}
AVERAGE_STATURE = 1.69  # metres: aims of arms are given for it and scaled


class Carrying(Enum):
    """What arms have to do with bags; left and right are the person's."""

    NOTHING = "nothing"
    LEFT_HAND = "left hand"  # a bag hangs in it
    RIGHT_HAND = "right hand"
    LEFT_STRAP = "left strap"  # over that shoulder; the hand is often at it
    RIGHT_STRAP = "right strap"
    STRAPS = "straps"  # of a rucksack


@dataclass(frozen=True)
class Habits:
    """How somebody goes and holds himself, in all of his images. Angles in radians."""

    stride: Stride
    swing: float  # of the upper arm, from the middle
    apart: float  # of the upper arm from the torso
    elbow: float  # bend of a hanging arm
    inward: float  # of a hanging arm's forearm
    pronation: float  # of a hanging hand
    curl: float  # of a hanging hand's fingers: 0 straight, 1 a fist
    lean: float  # of the trunk, forward
    stoop: float  # of the neck, forward of the trunk
    round: float  # of the shoulders, forward
    shrug: float
    lively: float  # how much pelvis and chest turn: 1 as usual
    handed: int  # the side of the phone: 0 left, 1 right
    phone: float  # how much more often than others this one is at a phone
    pockets: float  # ... has hands in pockets


def _normal(rng: np.random.Generator, mean: float, spread: float, low: float, high: float) -> float:
    """A normal draw, kept in low..high."""
    return float(np.clip(rng.normal(mean, spread), low, high))


def sample_habits(rng: np.random.Generator) -> Habits:
    """Somebody's habits."""
    return Habits(
        stride=Stride(
            length=_normal(rng, 0.9, 0.13, 0.6, 1.2),
            lift=_normal(rng, 1.0, 0.1, 0.75, 1.2),
            out=_normal(rng, 0.13, 0.08, -0.05, 0.35),
            spread=_normal(rng, 0.45, 0.14, 0.15, 0.8),
        ),
        swing=_normal(rng, 0.3, 0.12, 0.05, 0.6),
        apart=_normal(rng, APART_USUAL, 0.04, APART_LEAST, APART_LARGEST),
        elbow=_normal(rng, 0.35, 0.14, 0.1, 0.8),
        inward=_normal(rng, 0.35, 0.15, 0.0, 0.7),
        pronation=_normal(rng, 0.45, 0.3, -0.2, 1.2),
        curl=_normal(rng, 0.55, 0.13, 0.3, 0.95),
        lean=_normal(rng, 0.04, 0.05, -0.06, LEAN_MOST),
        stoop=_normal(rng, 0.04, 0.09, -0.15, 0.35),
        round=_normal(rng, 0.08, 0.07, -0.05, 0.25),
        shrug=_normal(rng, 0.0, 0.04, -0.08, 0.12),
        lively=_normal(rng, 1.0, 0.3, 0.3, 1.8),
        handed=int(rng.random() < 0.8),
        phone=float(rng.gamma(1.5, 1 / 1.5)),
        pockets=float(rng.gamma(1.0, 1.0)),
    )


def sample_pose(rng: np.random.Generator, habits: Habits, carrying: Carrying = Carrying.NOTHING) -> Pose:
    """One moment of somebody with such habits; the same draws are made whatever it shows."""
    kind, phase = rng.random(2)
    standing, running = kind > 1 - STANDING, kind < RUNNING
    sways, noise = rng.normal(0, 1, 8), rng.normal(0, 1, (2, 8))
    stance, choices = rng.random(7), rng.random(6)
    if standing:
        legs, support, pelvis, chest = _stand(habits, stance, sways)
    else:
        legs, support, pelvis, chest = _walk(habits, float(phase), running, sways)
    stride = 0.0 if standing else habits.stride.length * (1.5 if running else 1.0)
    ahead = stride * math.cos(2 * math.pi * (float(phase) + 0.05))  # positive: the left leg is in front
    actions = _actions(habits, carrying, standing, running, choices)
    arms = tuple(
        _arm(habits, action, hand, ahead if side else -ahead, running, noise[side])
        for side, (action, hand) in enumerate(actions)
    )
    down = SCREEN_LOOK if any(action == Action.SCREEN for action, _ in actions) else 0.0
    aside = choices[4] < HEAD_TURNED and not down
    yaw = _kept((0.45 if aside else 0.1) * sways[6], HEAD_YAW_MOST)
    pitch = _kept(chest[1] + habits.stoop + down + 0.09 * sways[4], HEAD_PITCH_MOST)
    return Pose(
        legs,
        (arms[0], arms[1]),
        support,
        pelvis,
        chest,
        (yaw, pitch, _kept(0.04 * sways[5], 0.2)),
        habits.shrug,
        habits.round,
    )


def _kept(value: float, most: float) -> float:
    return float(min(max(value, -most), most))


Trunk = tuple[float, float, float]


def _walk(habits: Habits, phase: float, running: bool, sways: Doubles) -> tuple[tuple[Leg, Leg], int, Trunk, Trunk]:
    legs, support = stride_legs(habits.stride, phase, running)
    ahead = math.cos(2 * math.pi * (phase + 0.05))  # 1: the left leg is in front
    swings = math.sin(2 * math.pi * phase)  # 1: the left leg carries, the right one swings
    size = habits.stride.length * habits.lively
    pelvis = (-PELVIS_YAW * size * ahead, 0.02 * sways[0], -PELVIS_DROP * size * swings)
    lean = _kept(habits.lean + 0.025 * sways[1] + 0.12 * running, LEAN_MOST)
    chest = (CHEST_YAW * size * ahead + 0.03 * sways[2], lean, PELVIS_DROP * 0.4 * size * swings + 0.015 * sways[3])
    return legs, support, pelvis, chest


def _stand(habits: Habits, stance: Doubles, sways: Doubles) -> tuple[tuple[Leg, Leg], int, Trunk, Trunk]:
    """Weight on one leg, the other one bent and a little before or beside it; or on both."""
    support, both = int(stance[0] < 0.5), stance[1] < 0.35
    forward, apart = 0.06 + 0.26 * stance[2], 0.45 + 0.65 * stance[3]
    out = habits.stride.out + 0.25 * stance[4:6]
    left = 1 if support == 0 else -1  # the free hip sinks
    pelvis = (0.06 * sways[0], 0.0, -left * HIP_OUT * (0.1 if both else 0.4 + 0.8 * stance[6]))
    chest = (0.06 * sways[2], _kept(habits.lean * 0.6 + 0.02 * sways[1], LEAN_MOST), -pelvis[2] * 0.5)
    carrying = Leg(0.0, 0.04, 0.0, float(out[0]), apart if both else 0.3 * apart)
    free = Leg(0.03 if both else forward, 0.1, 0.0, float(out[1]), apart if both else apart * 1.1, Contact.FLAT)
    return ((carrying, free) if support == 0 else (free, carrying)), support, pelvis, chest


Task = tuple[Action, bool]  # what an arm does, and whether its hand holds something


def _actions(habits: Habits, carrying: Carrying, standing: bool, running: bool, choices: Doubles) -> tuple[Task, Task]:
    """What left and right arm do."""
    tasks: list[Task] = [(Action.HANG, False), (Action.HANG, False)]
    busy = [carrying == Carrying.LEFT_HAND, carrying == Carrying.RIGHT_HAND]
    for side in (0, 1):
        if busy[side]:
            tasks[side] = (Action.HANG, True)
    if carrying in (Carrying.LEFT_STRAP, Carrying.RIGHT_STRAP) and choices[0] < STRAP_HELD:
        side = int(carrying == Carrying.RIGHT_STRAP)
        tasks[side], busy[side] = (Action.STRAP, True), True
    if carrying == Carrying.STRAPS and choices[0] < STRAPS_HELD:
        return (Action.STRAP, True), (Action.STRAP, True)
    free = [side for side in (habits.handed, 1 - habits.handed) if not busy[side]]
    if running or not free:
        return tasks[0], tasks[1]
    k = int(standing)
    ear = PHONE_EAR[k] * habits.phone
    screen = ear + PHONE_SCREEN[k] * habits.phone
    pockets = screen + POCKETS[k] * habits.pockets
    behind = pockets + BEHIND[k]
    kind = choices[1]
    if kind < ear:
        tasks[free[0]] = (Action.EAR, True)
    elif kind < screen:
        for side in free[: 2 if choices[2] < SCREEN_BOTH else 1]:
            tasks[side] = (Action.SCREEN, True)
    elif kind < pockets:
        chosen = free if choices[2] >= ONE_SIDED else [free[int(choices[3] * len(free))]]
        for side in chosen:
            tasks[side] = (Action.POCKET, False)
    elif kind < behind and len(free) == 2:
        tasks = [(Action.BACK, False), (Action.BACK, False)]
    elif kind < behind + HELD[k] and len(free) == 2:
        tasks = [(Action.HOLD, True), (Action.HOLD, True)]
    return tasks[0], tasks[1]


def _arm(habits: Habits, action: Action, holds: bool, ahead: float, running: bool, noise: Doubles) -> Arm:
    """One arm; ``ahead``: 1 where the other side's leg is in front, -1 where its own is. ``noise`` (8,) normal."""
    curl = 0.95 if holds else float(np.clip(habits.curl + 0.12 * noise[0], CURL_LEAST, 1))
    if action == Action.HANG:
        swing = habits.swing * (0.35 if holds else 1) * ahead + 0.05 * noise[1] - 0.02
        bend = habits.elbow * (0.4 if holds else 1) + (0 if holds else 0.35) * max(swing, 0)
        if running:
            bend, curl = RUN_ELBOW + 0.15 * noise[2], 0.9
        return Arm(
            swing=float(swing),
            apart=float(np.clip(habits.apart + 0.02 * noise[3], APART_LEAST, APART_LARGEST)),
            elbow=float(max(bend + 0.05 * noise[2], 0.05)),
            inward=float(np.clip(habits.inward + 0.1 * noise[4], -0.1, 0.9)),
            pronation=float(habits.pronation * (0.3 if holds else 1) + 0.1 * noise[5]),
            curl=curl,
        )
    aim = tuple(float(value) for value in np.clip(noise[1:4], -2, 2) * AIM_SPREAD)
    return Arm(action, aim=(aim[0], aim[1], aim[2]), pronation=PRONATIONS[action] + 0.15 * float(noise[5]), curl=curl)


def bone_matrices(body: Body, shape: Shape, pose: Pose, clearance: float = 0.012) -> Floats:
    """(B, 4, 4): rest position -> position in a pose, on ground at z = 0, the mid-line of the hips at x = y = 0.

    Args:
        clearance: metres of cloth between the torso and hanging arms.
    """
    heads = shape.heads.astype(np.float64)
    rotations = np.zeros((len(body.bones), 3, 3))
    given = np.zeros(len(body.bones), np.bool_)
    matrices = np.zeros((len(body.bones), 4, 4))

    def give(name: str, rotation: Doubles) -> None:
        rotations[body.bone(name)] = rotation
        given[body.bone(name)] = True

    pelvis, chest, head = (np.array(angles) for angles in (pose.pelvis, pose.chest, pose.head))
    give("root", turned(pose.pelvis))
    for k, bone in enumerate(SPINE):
        give(bone, turned(tuple(pelvis + (chest - pelvis) * (k + 1) / len(SPINE))))
    for bone, share in (("neck01", 0.25), ("neck02", 0.5), ("neck03", 0.75), ("head", 1.0)):
        give(bone, turned(tuple(chest + (head - chest) * share)))
    upright = rotations[body.bone("spine01")]
    for side, name in enumerate(SIDES):
        lift = 1 if side else -1  # a positive turn about y lowers the left shoulder
        forward = 1 if side else -1
        blade = upright @ about_z(forward * pose.round) @ about_y(lift * (pose.shrug - CLAVICLE_DROP))
        give(f"clavicle.{name}", blade)
        give(f"shoulder01.{name}", blade @ about_y(-lift * SHOULDER_DROP))
    chain(body.parents, heads, rotations, given, matrices)

    rests = [leg_rest(body, shape, side) for side in (0, 1)]
    hips = [float(_place(matrices, heads, body.bone(f"upperleg01.{name}"))[2]) for name in SIDES]
    for side, parts in enumerate(leg_rotations(rests, pose.legs, pose.support, hips)):
        for bone, rotation in zip(("upperleg01", "lowerleg01", "foot", "toes"), parts, strict=True):
            give(f"{bone}.{SIDES[side]}", mirrored(rotation, side))

    torso = torso_of(body, shape, clearance)
    size = float(np.ptp(shape.vertices["body"][:, 2])) / AVERAGE_STATURE
    for side, name in enumerate(SIDES):
        around = Surroundings(
            shoulder=(MIRROR if side else np.eye(3)) @ _place(matrices, heads, body.bone(f"upperarm01.{name}")),
            torso=torso,
            chest=mirrored(matrices[body.bone("spine01")], side),
            hips=mirrored(matrices[0], side),
            head=mirrored(matrices[body.bone("head")], side),
            head_rest=heads[body.bone("head")],
            levels=(float(heads[0, 2]), float(heads[body.bone("spine01"), 2])),
            facing=-pose.chest[0] if side else pose.chest[0],
            size=size,
        )
        for bone, rotation in arm_rotations(arm_rest(body, shape, side), pose.arms[side], around).items():
            give(f"{bone}.{name}", mirrored(rotation, side))
    chain(body.parents, heads, rotations, given, matrices)
    _settle(body, shape, matrices)
    return matrices.astype(np.float32)


def _place(matrices: Doubles, heads: Doubles, bone: int) -> Doubles:
    """A bone's joint, posed."""
    return matrices[bone, :3, :3] @ heads[bone] + matrices[bone, :3, 3]


def _settle(body: Body, shape: Shape, matrices: Doubles) -> None:
    """Move everything, in place, so that the lowest sole is at z = 0 and the hips above x = y = 0."""
    marks, part = landmarks(body), body.parts["body"]
    soles = np.concatenate(marks.soles)
    posed = skin(shape.vertices["body"][soles], part.bones[soles], part.weights[soles], matrices.astype(np.float32))
    hips = _place(matrices, shape.heads.astype(np.float64), 0)
    matrices[:, :3, 3] -= np.array([hips[0], hips[1], float(posed[:, 2].min())])
