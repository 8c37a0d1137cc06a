"""The rasteriser against plain loops, and what its rule of coverage promises."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from reid.sites.rendered.raster import Buffer, gather, rasterise, vertex_normals

HEIGHT, WIDTH = 24, 16


def _edge(a, b, p):
    return (b[0] - a[0]) * (p[1] - a[1]) - (b[1] - a[1]) * (p[0] - a[0])


def _slow(points, faces, two_sided, height, width):
    """Every pixel against every triangle, in fractions: exact but for the rounding to 1/256 of a pixel."""
    triangles, nearness = np.full((height, width), -1), np.zeros((height, width))
    for t, face in enumerate(faces):
        corners = [[Fraction(int(np.floor(value * 256 + 0.5)), 256) for value in points[k, :2]] for k in face]
        area = _edge(*corners)
        near = points[face, 2].astype(float)
        if area == 0 or (area > 0 and not two_sided[t]) or (near <= 0).any():
            continue
        if area < 0:
            corners, near = [corners[0], corners[2], corners[1]], near[[0, 2, 1]]
        for row in range(height):
            for column in range(width):
                p = (Fraction(2 * column + 1, 2), Fraction(2 * row + 1, 2))
                weights, inside = [], True
                for k in range(3):
                    a, b = corners[(k + 1) % 3], corners[(k + 2) % 3]
                    value, left, top = _edge(a, b, p), b[1] < a[1], b[1] == a[1] and b[0] > a[0]
                    inside &= value > 0 or (value == 0 and (left or top))
                    weights.append(float(value / abs(area)))
                if inside and np.float32(np.dot(weights, near)) > nearness[row, column] * (1 + 1e-6):
                    triangles[row, column], nearness[row, column] = t, np.dot(weights, near)
    return triangles, nearness


def _soup(seed, count=14):
    rng = np.random.default_rng(seed)
    points = rng.uniform((-6, -6, 0.1), (WIDTH + 6, HEIGHT + 6, 1.0), (3 * count, 3))
    points[: 3 * count // 2, :2] = np.round(points[: 3 * count // 2, :2] * 2) / 2  # corners in centres of pixels
    points[-1, 2] = -0.1
    return points.astype(np.float32), rng.permutation(3 * count).reshape(count, 3).astype(np.int32)


def test_the_nearest_triangle_of_each_pixel_is_that_of_plain_loops():
    for seed in range(3):
        points, faces = _soup(seed)
        two_sided = np.arange(len(faces)) % 2 == 0
        buffer = rasterise(points, faces, two_sided, HEIGHT, WIDTH)
        triangles, nearness = _slow(points, faces, two_sided, HEIGHT, WIDTH)
        np.testing.assert_array_equal(buffer.triangles, triangles)
        np.testing.assert_allclose(buffer.nearness, nearness, rtol=1e-5)


def test_triangles_that_share_edges_cover_each_pixel_once():
    rng = np.random.default_rng(3)
    columns, rows = np.meshgrid(np.linspace(0, WIDTH, 6), np.linspace(0, HEIGHT, 8))
    columns[1:-1, 1:-1] += rng.choice([-0.5, 0, 0.25, 0.31], (6, 4))
    points = np.stack([columns.ravel(), rows.ravel(), np.ones(48)], axis=1).astype(np.float32)
    faces = []
    for row in range(7):
        for column in range(5):
            a = row * 6 + column
            faces += [[a, a + 6, a + 1], [a + 1, a + 6, a + 7]]
    covered = np.zeros((HEIGHT, WIDTH), int)
    for face in np.array(faces, np.int32):
        covered += rasterise(points, face[None], np.array([False]), HEIGHT, WIDTH).triangles >= 0
    np.testing.assert_array_equal(covered, 1)


def test_back_faces_are_seen_only_of_what_is_two_sided():
    points = np.array([[0, 0, 1], [0, 20, 1], [16, 0, 1]], np.float32)
    front, back = np.array([[0, 1, 2]], np.int32), np.array([[0, 2, 1]], np.int32)
    seen = rasterise(points, front, np.array([False]), HEIGHT, WIDTH).triangles
    assert (seen == 0).any()
    assert (rasterise(points, back, np.array([False]), HEIGHT, WIDTH).triangles == -1).all()
    np.testing.assert_array_equal(rasterise(points, back, np.array([True]), HEIGHT, WIDTH).triangles, seen)


def _gathered(two_sided: bool) -> tuple[Buffer, np.ndarray, object]:
    """A triangle that lies aslant in depth, seen from the origin along +y; its coords are its positions."""
    vertices = np.array([[-1, 2, -1], [1, 4, -1], [-1, 3, 1.5]], np.float32)
    near = 1 / vertices[:, 1]
    points = np.stack([8 + 12 * vertices[:, 0] * near, 12 - 12 * vertices[:, 2] * near, near], axis=1).astype(
        np.float32
    )
    faces = np.array([[0, 1, 2] if not two_sided else [0, 2, 1]], np.int32)
    sides = np.array([two_sided])
    buffer = rasterise(points, faces, sides, HEIGHT, WIDTH)
    coords = np.concatenate([vertices, vertices[:, :1]], axis=1)
    labels = np.array([7], np.int32)
    return buffer, points, gather(buffer, points, faces, labels, coords, vertices, sides, np.zeros(3, np.float32))


def test_what_is_gathered_lies_on_the_ray_of_its_pixel():
    buffer, _, seen = _gathered(False)
    assert len(seen.rows) == (buffer.triangles >= 0).sum() > 20
    assert (seen.labels == 7).all()
    x, y, z = seen.positions.T
    np.testing.assert_allclose(8 + 12 * x / y, seen.columns + 0.5, atol=0.02)
    np.testing.assert_allclose(12 - 12 * z / y, seen.rows + 0.5, atol=0.02)
    np.testing.assert_allclose(1 / buffer.nearness[seen.rows, seen.columns], y, rtol=1e-3)
    np.testing.assert_allclose(seen.coords[:, :3], seen.positions, rtol=1e-4, atol=1e-5)


def test_normals_of_two_sided_triangles_turn_to_the_camera():
    for two_sided in (False, True):
        _, _, seen = _gathered(two_sided)
        assert (np.einsum("ij,ij->i", seen.normals, seen.positions) < 0).all()
        np.testing.assert_allclose(np.linalg.norm(seen.normals, axis=1), 1, rtol=1e-5)


def test_normals_of_a_sphere_point_outwards():
    azimuth, elevation = np.meshgrid(np.linspace(0, 2 * np.pi, 24, endpoint=False), np.linspace(-1.3, 1.3, 12))
    sphere = np.stack(
        [np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), np.sin(elevation)], axis=-1
    )
    faces = []
    for i in range(11):
        for j in range(24):
            a, b = i * 24 + j, i * 24 + (j + 1) % 24
            faces += [[a, b, a + 24], [b, b + 24, a + 24]]
    vertices = sphere.reshape(-1, 3).astype(np.float32)
    normals = vertex_normals(vertices, np.array(faces, np.int32))
    assert (np.einsum("ij,ij->i", normals, vertices) > 0.98).all()
