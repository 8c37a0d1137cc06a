"""Arms that hang beside the torso or reach for something, as rotations of bones."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from reid.sites.rendered.body.body import Body, Shape
from reid.sites.rendered.body.rotations import MIRROR, Doubles, about, about_z, cross, frame, unit
from reid.sites.rendered.body.skeleton import SIDES, Action, Arm, Torso

LEFT = np.array([1.0, 0.0, 0.0])
ELBOW_LEAST = math.radians(4)
APART_MOST = math.radians(50)  # of an arm that the torso pushes away
APART_STEP = math.radians(1.5)
POLE_STEP = math.radians(12)  # by which an elbow is lifted outwards until it is outside the torso
REACH = 0.985  # share of its length to which an aiming arm stretches, at most
NEAREST = 0.4  # share of its length to which it folds, at least
UPPER_ARM, FOREARM, HAND = 0.048, 0.038, 0.035  # half widths of the average adult's, metres
AVERAGE_LEVELS = (0.071, 0.432)  # metres: root's and chest's joint of the average adult
WAIST = 0.2  # metres, on it: above, an arm is beside the chest, below, beside the hips
SHOULDER_TURN, MIDDLE_TURN = 0.3, 0.75  # shares of the upper arm's turn about itself at shoulder and middle
FINGER_BENDS = (1.25, 1.45, 0.9)  # radians of a fist's joints, knuckle first
THUMB_BENDS = (0.5, 0.55, 0.75)


@dataclass(frozen=True)
class ArmRest:
    """An arm at rest, as if it were the left one."""

    upper: Doubles  # vectors
    fore: Doubles
    hinge: Doubles  # unit: the elbow bends about it
    palm: Doubles  # unit: where the palm looks
    fingers: Doubles  # (5, 3, 3) unit: about which each joint bends


def arm_rest(body: Body, shape: Shape, side: int) -> ArmRest:
    name, mirror = SIDES[side], MIRROR if side else np.eye(3)

    def joint(bone: str) -> Doubles:
        return mirror @ shape.heads[body.bone(f"{bone}.{name}")].astype(np.float64)

    upper = joint("lowerarm01") - joint("upperarm01")
    fore = joint("wrist") - joint("lowerarm01")
    across = unit(joint("finger5-1") - joint("finger2-1"))
    palm = unit(cross(across, joint("finger3-1") - joint("wrist")))
    axes = np.empty((5, 3, 3))
    for finger in range(5):
        knots = [joint(f"finger{finger + 1}-{k}") for k in (1, 2, 3)]
        to = unit(palm + 0.8 * across) if finger == 0 else palm  # the thumb closes over the fingers
        axes[finger, 0] = axes[finger, 1] = unit(cross(knots[1] - knots[0], to))
        axes[finger, 1:] = unit(cross(knots[2] - knots[1], to))
    return ArmRest(upper, fore, unit(cross(upper, fore)), palm, axes)


@dataclass(frozen=True)
class Surroundings:
    """Where an arm moves, as if it were the left one."""

    shoulder: Doubles  # joint, posed
    torso: Torso
    chest: Doubles  # (4, 4) rest -> posed
    hips: Doubles
    head: Doubles
    head_rest: Doubles  # joint at rest
    levels: tuple[float, float]  # heights of the root's and the chest's joint, at rest
    facing: float  # yaw of the chest
    size: float  # of the average adult's

    def level(self, height: float) -> float:
        """The height on this body at rest of one between hips and shoulders of the average adult's."""
        hips, chest = self.levels
        return hips + (height - AVERAGE_LEVELS[0]) / (AVERAGE_LEVELS[1] - AVERAGE_LEVELS[0]) * (chest - hips)

    def outside(self, point: Doubles, margin: float) -> bool:
        """Whether a point (posed) is at least that far from the torso and thighs, read as ellipses at every height."""
        near = self.chest if point[2] > self.hips[2, 3] + self.hips[2, 2] * self.level(WAIST) else self.hips
        x, y, z = near[:3, :3].T @ (point - near[:3, 3])
        width, front, back = self.torso.at(float(z))
        depth, middle = (back - front) / 2, (back + front) / 2
        return bool((x / (width + margin)) ** 2 + ((y - middle) / (depth + margin)) ** 2 >= 1)


def _hanging(rest: ArmRest, arm: Arm, around: Surroundings) -> tuple[Doubles, Doubles, Doubles]:
    """Directions of upper arm and forearm, and the elbow's hinge: apart enough to clear the torso."""
    upper_length, fore_length = float(np.linalg.norm(rest.upper)), float(np.linalg.norm(rest.fore))
    facing, bend = about_z(around.facing), max(arm.elbow, ELBOW_LEAST)
    apart = arm.apart
    while True:
        upper = np.array(
            [math.sin(apart), -math.sin(arm.swing) * math.cos(apart), -math.cos(arm.swing) * math.cos(apart)]
        )
        hinge = about(upper, arm.inward) @ frame(upper, -LEFT)[:, 1]
        fore = about(hinge, bend) @ upper
        upper, fore, hinge = facing @ upper, facing @ fore, facing @ hinge
        elbow = around.shoulder + upper * upper_length
        tests = (
            (elbow, UPPER_ARM),
            (elbow + fore * fore_length * 0.5, FOREARM),
            (elbow + fore * fore_length, HAND),
            (elbow + fore * fore_length * 1.4, HAND),
        )
        if apart >= APART_MOST or all(around.outside(point, margin * around.size) for point, margin in tests):
            return upper, fore, hinge
        apart += APART_STEP


def _aim(arm: Arm, around: Surroundings) -> tuple[Doubles, Doubles]:
    """Where the wrist goes (posed), and to which side the elbow points."""
    size, torso = around.size, around.torso
    if arm.action == Action.EAR:
        near, pole = around.head, (0.4, 0.0, -1.0)
        place = around.head_rest + size * np.array([0.135, -0.075, -0.105])
    elif arm.action == Action.SCREEN:
        near, pole, height = around.chest, (0.3, 0.4, -1.0), around.level(0.35)
        place = np.array([0.05 * size, torso.at(height)[1] - 0.19 * size, height])
    elif arm.action == Action.POCKET:
        near, pole, height = around.hips, (0.35, 1.0, 0.0), around.level(0.05)
        place = np.array([torso.at(height)[0] - 0.035 * size, -0.06 * size, height])
    elif arm.action == Action.BACK:
        near, pole, height = around.hips, (1.0, 0.5, 0.0), around.level(0.10)
        place = np.array([0.04 * size, torso.at(height)[2] + 0.05 * size, height])
    elif arm.action == Action.STRAP:
        near, pole, height = around.chest, (0.25, 0.4, -1.0), around.level(0.42)
        place = np.array([0.13 * size, torso.at(height)[1] - 0.05 * size, height])
    else:
        near, pole, height = around.chest, (0.5, 0.5, -0.8), around.level(0.15)
        place = np.array([0.09 * size, torso.at(height)[1] - 0.15 * size, height])
    outwards, backwards, upwards = arm.aim
    point = place + np.array([outwards, backwards, upwards])
    return near[:3, :3] @ point + near[:3, 3], about_z(around.facing) @ np.array(pole)


def _reaching(rest: ArmRest, arm: Arm, around: Surroundings) -> tuple[Doubles, Doubles, Doubles]:
    """As ``_hanging``, with the wrist at the action's place or as near as the arm is long."""
    upper_length, fore_length = float(np.linalg.norm(rest.upper)), float(np.linalg.norm(rest.fore))
    wrist, pole = _aim(arm, around)
    way = wrist - around.shoulder
    distance = float(np.linalg.norm(way))
    # neither further than the arm is long nor nearer than a bent elbow allows
    distance = min(max(distance, NEAREST * (upper_length + fore_length)), REACH * (upper_length + fore_length))
    way = unit(way)
    along = (upper_length**2 - fore_length**2 + distance**2) / (2 * distance)
    aside = math.sqrt(max(upper_length**2 - along**2, 1e-8))
    outwards = frame(way, pole)[:, 1]
    for _ in range(8):
        elbow = way * along + outwards * aside
        if around.outside(around.shoulder + elbow, UPPER_ARM * around.size):
            break
        turned_pole = about(way, POLE_STEP) @ outwards
        outwards = turned_pole if turned_pole[0] > outwards[0] else about(way, -POLE_STEP) @ outwards
    upper, fore = unit(elbow), unit(way * distance - elbow)
    return upper, fore, unit(cross(upper, fore))


def _shortest(start: Doubles, end: Doubles) -> Doubles:
    """The smallest rotation of one unit vector to another, not an opposite one."""
    axis = cross(start, end)
    length = float(np.linalg.norm(axis))
    return about(axis / length, math.atan2(length, float(start @ end))) if length > 1e-9 else np.eye(3)


def arm_rotations(rest: ArmRest, arm: Arm, around: Surroundings) -> dict[str, Doubles]:
    """Rotations of an arm's bones, by their names without the side, as if it were the left one."""
    upper, fore, hinge = (_hanging if arm.action == Action.HANG else _reaching)(rest, arm, around)
    rest_upper, rest_fore = unit(rest.upper), unit(rest.fore)
    # the turn of the upper arm about itself grows towards the elbow, so that the shoulder's skin is not wrung
    aimed = _shortest(rest_upper, upper)
    start = aimed @ rest.hinge
    turn = math.atan2(float(cross(start, hinge) @ upper), float(start @ hinge))
    below = frame(fore, hinge) @ frame(rest_fore, rest.hinge).T
    hand = about(fore, arm.pronation) @ below @ about(unit(cross(rest_fore, rest.palm)), arm.wrist)
    rotations = {
        "upperarm01": about(upper, turn * SHOULDER_TURN) @ aimed,
        "upperarm02": about(upper, turn * MIDDLE_TURN) @ aimed,
        "lowerarm01": below,
        "lowerarm02": about(fore, arm.pronation / 2) @ below,
        "wrist": hand,
    }
    for finger in range(5):
        rotation, bends = hand, THUMB_BENDS if finger == 0 else FINGER_BENDS
        for k in range(3):
            rotation = rotation @ about(rest.fingers[finger, k], arm.curl * bends[k])
            rotations[f"finger{finger + 1}-{k + 1}"] = rotation
    return rotations
