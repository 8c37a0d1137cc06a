import numpy as np
import pytest

from reid.sites.rendered.body.body import Phenotype, load_body
from reid.sites.rendered.wear.attach import back_of, carried_over, chest_of, followed, region, rounded_box, tube, vector
from reid.sites.rendered.wear.mesh import Floats, Ints

TALL = Phenotype(gender=0.1, weight=0.7, height=0.6)


def volume(points: Floats, faces: Ints) -> float:
    """Of a closed surface, positive if its triangles are counter-clockwise seen from outside."""
    a, b, c = (points[faces[:, k]].astype(np.float64) for k in range(3))
    return float((a * np.cross(b, c)).sum() / 6)


@pytest.mark.parametrize("name", ["head", "torso", "leg.L"])
def test_what_lies_on_the_reference_body_lies_on_the_persons(name: str) -> None:
    body = load_body()
    shape = body.shaped(TALL)
    part = region(body, name)
    moved = carried_over(part.reference[::7], body, shape, name)
    assert np.abs(moved - shape.vertices["body"][part.vertices[::7]]).max() < 0.003


def test_what_is_beside_the_average_body_stays_where_it_is() -> None:
    body = load_body()
    points = vector(0, 0.2, 0.4)[None]
    np.testing.assert_allclose(carried_over(points, body, body.shaped(Phenotype()), "torso"), points, atol=1e-5)


def test_bones_are_those_of_the_nearest_vertex() -> None:
    body = load_body()
    part = region(body, "leg.R")
    point = vector(-0.19, -0.25, -0.8)
    nearest = part.vertices[((part.reference - point) ** 2).sum(1).argmin()]
    bones, weights = followed(point[None], body, "leg.R")
    np.testing.assert_array_equal(bones[0], body.parts["body"].bones[nearest])
    np.testing.assert_array_equal(weights[0], body.parts["body"].weights[nearest])


def test_back_and_chest_are_the_outermost_vertices_nearby() -> None:
    body = load_body()
    points = body.parts["body"].reference
    for z in (0.15, 0.3, 0.45):
        near = points[(np.abs(points[:, 0]) < 0.02) & (np.abs(points[:, 2] - z) < 0.02)]
        assert abs(back_of(body, vector(0), vector(z))[0] - near[:, 1].max()) < 0.012
        assert abs(chest_of(body, vector(0), vector(z))[0] - near[:, 1].min()) < 0.012


@pytest.mark.parametrize(("power", "least", "most"), [(1.0, 3.4, 4.19), (0.2, 6.0, 8.0)])
def test_a_rounded_box_is_between_ball_and_box(power: float, least: float, most: float) -> None:
    points, faces = rounded_box(power)
    assert least < volume(points, faces) < most
    assert np.abs(points).max() <= 1 + 1e-6


@pytest.mark.parametrize("end", [(0, 0, -1), (0, 0, 1), (1, 0, 0), (0.3, 0.5, -0.6)])
def test_a_tube_is_closed_and_faces_outwards(end: tuple[float, float, float]) -> None:
    path = np.linspace(0, 1, 9, dtype=np.float32)[:, None] * vector(*end)
    widths = np.full((9, 2), 0.1, np.float32)
    widths[[0, -1]] = 0
    points, _, faces = tube(path, widths, 16)
    length = float(np.linalg.norm(end))
    assert 0.85 < volume(points, faces) / (np.pi * 0.01 * length * 7 / 8) < 1.25
