"""Meshes: joined, thinned out and cut."""

import numpy as np
import pytest

from reid.sites.rendered.wear.mesh import TWO_SIDED, Label, Mesh, chosen, cut, join, rigid


def _sheet(columns: int = 7, rows: int = 5) -> Mesh:
    """A flat sheet of 0.7 m x 0.5 m, each column moved by a bone of its own."""
    y, x = np.meshgrid(np.arange(rows), np.arange(columns), indexing="ij")
    vertices = np.stack([x, y, 0 * x], 2).reshape(-1, 3).astype(np.float32) * np.float32(0.1)
    a = (y * columns + x)[:-1, :-1].ravel()
    faces = np.concatenate(
        [np.stack([a, a + 1, a + columns], 1), np.stack([a + 1, a + columns + 1, a + columns], 1)]
    ).astype(np.int32)
    mesh = rigid(vertices, vertices, faces, Label.UPPER, 0)
    mesh.bones[:, 0] = x.ravel()
    mesh.labels[::2] = int(Label.LOWER)
    return mesh


def _areas(mesh: Mesh) -> np.ndarray:
    a, b, c = (mesh.vertices[mesh.faces[:, k]].astype(float) for k in range(3))
    return np.cross(b - a, c - a)[:, 2] / 2


def test_a_cut_keeps_the_part_on_the_positive_side_to_its_edge():
    mesh = _sheet()
    values = (mesh.vertices[:, 0] + 0.3 * mesh.vertices[:, 1] - 0.337).astype(np.float32)
    part = cut(mesh, values)
    other = cut(mesh, -values)
    assert (_areas(part) >= -1e-7).all()  # seen from the same side
    assert _areas(part).sum() + _areas(other).sum() == pytest.approx(0.6 * 0.4, abs=1e-5)
    assert _areas(part).sum() == pytest.approx(0.6 * 0.4 - 0.4 * (0.337 - 0.06), abs=1e-5)
    assert (part.coords[:, 0] + 0.3 * part.coords[:, 1] - 0.337).min() == pytest.approx(0, abs=1e-5)
    np.testing.assert_allclose(part.coords[:, :3], part.vertices, atol=1e-6)


def test_points_of_a_cut_are_moved_by_the_bones_of_both_ends():
    mesh = _sheet()
    part = cut(mesh, (mesh.vertices[:, 0] - np.float32(0.33)).astype(np.float32))
    np.testing.assert_allclose(part.weights.sum(1), 1, atol=1e-5)
    mean = (part.bones * part.weights).sum(1)  # bone k pulls at x = k / 10
    np.testing.assert_allclose(mean / 10, part.vertices[:, 0], atol=1e-5)


def test_a_cut_that_misses_keeps_all_or_nothing_and_labels_stay_with_their_faces():
    mesh = _sheet()
    assert len(cut(mesh, np.ones(len(mesh.vertices), np.float32)).faces) == len(mesh.faces)
    assert len(cut(mesh, -np.ones(len(mesh.vertices), np.float32)).faces) == 0
    part = cut(mesh, (mesh.vertices[:, 0] - np.float32(0.33)).astype(np.float32))
    for label in (Label.UPPER, Label.LOWER):
        assert _areas(part)[part.labels == label].sum() > 0


def test_joined_meshes_can_be_taken_apart_again():
    first, second = _sheet(), _sheet(3, 3)
    both = join([first, second])
    assert len(both.vertices) == len(first.vertices) + len(second.vertices)
    back = chosen(both, np.arange(len(both.faces)) >= len(first.faces))
    for name in ("vertices", "bones", "weights", "coords", "faces", "labels"):
        np.testing.assert_array_equal(getattr(back, name), getattr(second, name))


def test_labels_are_numbered_without_gaps():
    assert sorted(Label) == list(range(len(Label)))
    assert set(Label).issuperset(TWO_SIDED)
