"""Poses: skinning against plain loops, and what every body in every pose keeps to."""

import math
from collections import Counter

import numpy as np
import pytest

from reid.sites.rendered.body.body import Phenotype, load_body
from reid.sites.rendered.body.gait import Stride, stride_legs
from reid.sites.rendered.body.pose import Carrying, Habits, bone_matrices, sample_habits, sample_pose
from reid.sites.rendered.body.skeleton import Action, Arm, Contact, Leg, Pose, chain, landmarks, skin, torso_of

PEOPLE = [
    Phenotype(),
    Phenotype(gender=0.1, weight=0.95, muscle=0.3),
    Phenotype(age=0.55, gender=1, weight=0.2, height=0.25),
    Phenotype(age=0.97, gender=0.8, height=0.5),
]
UPRIGHT = (0.0, 0.0, 0.0)
STRAIGHT = Leg(0.0, 0.04, 0.0, 0.1, 0.5, Contact.FLAT)


def posed_joints(body, shape, matrices) -> dict[str, np.ndarray]:
    return {
        name: matrices[k, :3, :3].astype(float) @ shape.heads[k] + matrices[k, :3, 3]
        for k, name in enumerate(body.bones)
    }


@pytest.fixture(scope="module")
def moments():
    """Many people in many poses: (shape, habits, pose, matrices)."""
    body = load_body()
    made = []
    for k, phenotype in enumerate(PEOPLE):
        shape = body.shaped(phenotype)
        rng = np.random.default_rng([5, k])
        for _ in range(3):
            habits = sample_habits(rng)
            for carrying in Carrying:
                for _ in range(2):
                    pose = sample_pose(rng, habits, carrying)
                    made.append((shape, habits, pose, bone_matrices(body, shape, pose)))
    return made


def test_a_chain_of_bones_turns_as_plain_matrices_do() -> None:
    rng = np.random.default_rng(0)
    parents = np.array([-1, 0, 1, 1], np.int32)
    heads = rng.normal(size=(4, 3))
    rotations = np.stack([np.linalg.qr(rng.normal(size=(3, 3)))[0] for _ in parents])
    given = np.array([True, True, False, True])
    matrices = np.zeros((4, 4, 4))
    chain(parents, heads, rotations.copy(), given, matrices)

    def slow(bone: int) -> tuple[np.ndarray, np.ndarray]:
        """Rotation and posed joint."""
        if parents[bone] < 0:
            return rotations[bone], heads[bone]
        above, place = slow(int(parents[bone]))
        turned = rotations[bone] if given[bone] else above
        return turned, place + above @ (heads[bone] - heads[parents[bone]])

    for bone in range(4):
        rotation, place = slow(bone)
        point = rng.normal(size=3)
        moved = matrices[bone, :3, :3] @ point + matrices[bone, :3, 3]
        assert moved == pytest.approx(place + rotation @ (point - heads[bone]))
        assert matrices[bone, 3].tolist() == [0, 0, 0, 1]


def test_skinning_is_the_weighted_mean_of_where_bones_take_a_vertex() -> None:
    rng = np.random.default_rng(1)
    vertices = rng.normal(size=(20, 3)).astype(np.float32)
    bones = rng.integers(0, 5, (20, 4)).astype(np.int32)
    weights = rng.dirichlet([1, 1, 1, 1], 20).astype(np.float32)
    weights[3] = (1, 0, 0, 0)
    matrices = rng.normal(size=(5, 4, 4)).astype(np.float32)
    expected = np.zeros((20, 3))
    for i in range(20):
        for k in range(4):
            expected[i] += weights[i, k] * (matrices[bones[i, k]] @ np.append(vertices[i], 1))[:3]
    assert skin(vertices, bones, weights, matrices) == pytest.approx(expected, abs=1e-5)


def test_bones_keep_their_lengths_and_stay_rigid(moments) -> None:
    body = load_body()
    for shape, _, _, matrices in moments:
        turns = matrices[:, :3, :3].astype(float)
        assert turns @ turns.transpose(0, 2, 1) == pytest.approx(np.broadcast_to(np.eye(3), turns.shape), abs=1e-5)
        assert np.linalg.det(turns) == pytest.approx(1, abs=1e-5)
        joints = posed_joints(body, shape, matrices)
        for k, name in enumerate(body.bones[1:], 1):
            above = body.parents[k]
            length = np.linalg.norm(shape.heads[k] - shape.heads[above])
            assert np.linalg.norm(joints[name] - joints[body.bones[above]]) == pytest.approx(length, abs=1e-4)


def test_everybody_stands_on_the_ground(moments) -> None:
    body = load_body()
    part = body.parts["body"]
    for shape, _, _, matrices in moments[::4]:
        points = skin(shape.vertices["body"], part.bones, part.weights, matrices)
        assert points[:, 2].min() == pytest.approx(0, abs=0.015)  # a few vertices of the sole are looked at
        assert np.abs(matrices[0, :3, :3] @ shape.heads[0] + matrices[0, :3, 3])[:2] == pytest.approx([0, 0], abs=1e-5)


def test_knees_and_elbows_bend_one_way_only(moments) -> None:
    body = load_body()
    for shape, _, _, matrices in moments:
        joints = posed_joints(body, shape, matrices)
        for side in "LR":
            thigh = joints[f"lowerleg01.{side}"] - joints[f"upperleg01.{side}"]
            shank = joints[f"foot.{side}"] - joints[f"lowerleg01.{side}"]
            # the hinge is the left-right axis of the thigh; a bent knee takes the shank back
            hinge = matrices[body.bone(f"upperleg01.{side}"), :3, 0]
            assert hinge @ np.cross(thigh, shank) > -1e-3
            assert np.dot(thigh, shank) > -0.7 * np.linalg.norm(thigh) * np.linalg.norm(shank)


def test_hanging_arms_are_close_to_the_body_and_not_in_it(moments) -> None:
    body = load_body()
    angles = []
    for shape, _, pose, matrices in moments:
        joints = posed_joints(body, shape, matrices)
        torso = torso_of(body, shape, 0.0)
        for side, arm in enumerate(pose.arms):
            if arm.action != Action.HANG:
                continue
            name = "LR"[side]
            hips = np.linalg.inv(matrices[0].astype(float))
            x, y, z, _ = hips @ np.append(joints[f"wrist.{name}"], 1)
            width, front, back = torso.at(z)
            assert (x / width) ** 2 + ((y - (front + back) / 2) / ((back - front) / 2)) ** 2 > 1
            upper = joints[f"lowerarm01.{name}"] - joints[f"upperarm01.{name}"]
            angles.append(math.degrees(math.atan2(abs(upper[0]), -upper[2])))
    assert len(angles) > 150
    assert 5 < np.median(angles) < 15
    assert max(angles) < 35


def standing(arm: Arm, legs: tuple[Leg, Leg] = (STRAIGHT, STRAIGHT)) -> Pose:
    return Pose(legs, (arm, arm), 0, UPRIGHT, UPRIGHT, UPRIGHT)


@pytest.mark.parametrize("phenotype", PEOPLE)
def test_hands_reach_what_they_aim_at(phenotype: Phenotype) -> None:
    body = load_body()
    shape = body.shaped(phenotype)

    def joints(action: Action) -> dict[str, np.ndarray]:
        return posed_joints(body, shape, bone_matrices(body, shape, standing(Arm(action))))

    near = joints(Action.EAR)
    assert np.linalg.norm(near["finger3-1.L"] - near["head"]) < 0.2
    behind = joints(Action.BACK)
    assert behind["wrist.R"][1] > behind["root"][1] + 0.05
    for action in (Action.SCREEN, Action.HOLD, Action.STRAP):
        front = joints(action)
        assert front["wrist.L"][1] < front["spine01"][1] - 0.1
        assert front["root"][2] - 0.05 < front["wrist.L"][2] < front["neck01"][2]
    pocket = joints(Action.POCKET)
    assert abs(pocket["wrist.L"][2] - pocket["root"][2]) < 0.12
    for name in ("wrist", "lowerarm01", "foot"):  # both sides do the same
        assert pocket[f"{name}.L"] == pytest.approx(pocket[f"{name}.R"] * [-1, 1, 1], abs=0.01)


def test_fists_close() -> None:
    body = load_body()
    shape = body.shaped(Phenotype())
    reach = []
    for curl in (0.0, 0.5, 1.0):
        joints = posed_joints(body, shape, bone_matrices(body, shape, standing(Arm(curl=curl))))
        reach.append(np.linalg.norm(joints["finger3-3.L"] - joints["wrist.L"]))
    assert reach[0] > reach[1] + 0.005 > reach[2] + 0.02


def test_carrying_feet_are_flat_and_swinging_ones_clear() -> None:
    body = load_body()
    shape = body.shaped(Phenotype())
    marks, part = landmarks(body), body.parts["body"]
    for phase in np.arange(0, 1, 0.05):
        legs, support = stride_legs(Stride(), float(phase))
        pose = Pose(legs, (Arm(), Arm()), support, UPRIGHT, UPRIGHT, UPRIGHT)
        matrices = bone_matrices(body, shape, pose)
        lowest = []
        for side in (0, 1):
            soles = marks.soles[side]
            heights = skin(shape.vertices["body"][soles], part.bones[soles], part.weights[soles], matrices)[:, 2]
            lowest.append(heights.min())
            own = (phase + 0.5 * side) % 1
            if 0.11 <= own <= 0.36:
                assert np.ptp(heights) < 0.03
        assert lowest[support] == pytest.approx(0, abs=0.006)
        assert lowest[1 - support] > -1e-3


def test_the_free_foot_of_those_who_stand_touches_the_ground() -> None:
    body = load_body()
    shape = body.shaped(Phenotype())
    marks, part = landmarks(body), body.parts["body"]
    free = Leg(0.25, 0.1, 0.0, 0.3, 1.0, Contact.FLAT)
    for legs, support, roll in (((STRAIGHT, free), 0, -0.07), ((free, STRAIGHT), 1, 0.07)):
        matrices = bone_matrices(body, shape, Pose(legs, (Arm(), Arm()), support, (0, 0, roll), UPRIGHT, UPRIGHT))
        for soles in marks.soles:
            heights = skin(shape.vertices["body"][soles], part.bones[soles], part.weights[soles], matrices)[:, 2]
            assert heights.min() == pytest.approx(0, abs=0.004)
            assert np.ptp(heights) < 0.03


def draws(seed: int, carrying: Carrying) -> tuple[Habits, list[Pose], float]:
    rng = np.random.default_rng(seed)
    habits = sample_habits(rng)
    return habits, [sample_pose(rng, habits, carrying) for _ in range(40)], float(rng.random())


def test_one_seed_is_one_person_and_what_is_carried_changes_no_later_draw() -> None:
    first, second = draws(3, Carrying.NOTHING), draws(3, Carrying.NOTHING)
    assert first == second
    assert draws(4, Carrying.NOTHING)[0] != first[0]
    for carrying in Carrying:
        assert draws(3, carrying)[2] == first[2]


def test_hands_that_carry_do_nothing_else() -> None:
    def actions(carrying: Carrying) -> list[Counter]:
        poses = [pose for seed in range(8) for pose in draws(seed, carrying)[1]]
        return [Counter(pose.arms[side].action for pose in poses) for side in (0, 1)]

    left, right = actions(Carrying.NOTHING)
    assert all(left[action] + right[action] for action in Action if action != Action.STRAP)
    assert left[Action.HANG] > 200
    assert set(actions(Carrying.LEFT_HAND)[0]) == {Action.HANG}
    assert set(actions(Carrying.RIGHT_HAND)[1]) == {Action.HANG}
    assert actions(Carrying.LEFT_STRAP)[0][Action.STRAP] > 40
    assert actions(Carrying.LEFT_STRAP)[1][Action.STRAP] == 0
