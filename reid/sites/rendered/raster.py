"""Triangles to pixels: normals of vertices, an exact z-buffer, and what is seen in each pixel."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from reid.sites.compiled import compiled

Floats = NDArray[np.float32]
Ints = NDArray[np.int32]

_SUBPIXEL = 256  # vertices are rounded to this share of a pixel, so that edges are computed in whole numbers, exactly


@dataclass(frozen=True)
class Buffer:
    """Which triangle each pixel of an image of shape (H, W) shows."""

    triangles: Ints  # (H, W) index of the triangle, -1 where there is none
    weights: Floats  # (H, W, 2) of the triangle's second and third vertex on the screen; the first has the rest
    nearness: Floats  # (H, W) of the point seen; 0 where there is none


@dataclass(frozen=True)
class Fragments:
    """What N pixels show, in the order of rows, then columns.

    Attributes:
        rows, columns: (N,) int32, where in the image.
        labels: (N,) int32, of the triangles.
        coords: (N, 4) float32, where on the body.
        normals: (N, 3) float32, of length 1, in the world.
        positions: (N, 3) float32, metres, in the world.
        depth: (N,) float32, metres along the camera's axis.
    """

    rows: Ints
    columns: Ints
    labels: Ints
    coords: Floats
    normals: Floats
    positions: Floats
    depth: Floats

    def with_normals(self, normals: Floats) -> Fragments:
        """The same with other normals (N, 3), which are brought to length 1."""
        return replace(self, normals=_unit(normals))


@compiled
def _unit(vectors: Floats) -> Floats:
    out = np.empty_like(vectors)
    for i in range(vectors.shape[0]):
        x, y, z = vectors[i, 0], vectors[i, 1], vectors[i, 2]
        length = np.sqrt(x * x + y * y + z * z) + np.float32(1e-12)
        out[i, 0], out[i, 1], out[i, 2] = x / length, y / length, z / length
    return out


@compiled
def bounds(points: Floats) -> tuple[Floats, Floats]:
    """Least and greatest value of each column of (N, K); numpy takes ten times as long over few columns."""
    low, high = points[0].copy(), points[0].copy()
    for i in range(points.shape[0]):
        for k in range(points.shape[1]):
            low[k] = min(low[k], points[i, k])
            high[k] = max(high[k], points[i, k])
    return low, high


@compiled
def _summed_normals(vertices: Floats, faces: Ints) -> Floats:
    out = np.zeros_like(vertices)
    for t in range(faces.shape[0]):
        a, b, c = faces[t, 0], faces[t, 1], faces[t, 2]
        ux, uy, uz = vertices[b, 0] - vertices[a, 0], vertices[b, 1] - vertices[a, 1], vertices[b, 2] - vertices[a, 2]
        vx, vy, vz = vertices[c, 0] - vertices[a, 0], vertices[c, 1] - vertices[a, 1], vertices[c, 2] - vertices[a, 2]
        x, y, z = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
        for k in (a, b, c):
            out[k, 0] += x
            out[k, 1] += y
            out[k, 2] += z
    return out


def vertex_normals(vertices: Floats, faces: Ints) -> Floats:
    """Normals (V, 3) of length 1: the mean of the adjoining triangles', weighted by their areas."""
    return np.asarray(_unit(_summed_normals(vertices, faces)), np.float32)


@compiled
def _inside(edge: int, dx: int, dy: int) -> bool:
    # A pixel on an edge belongs to the triangle that has the edge at its left or top: to one of two that share it.
    return edge > 0 or (edge == 0 and (dy < 0 or (dy == 0 and dx > 0)))


@compiled
def _rasterise(
    points: Floats, faces: Ints, two_sided: NDArray[np.bool_], height: int, width: int
) -> tuple[Ints, Floats, Floats]:
    triangles = np.full((height, width), -1, np.int32)
    weights = np.zeros((height, width, 2), np.float32)
    nearness = np.zeros((height, width), np.float32)
    fixed = np.empty((points.shape[0], 2), np.int64)
    for i in range(points.shape[0]):
        fixed[i, 0] = int(np.floor(points[i, 0] * _SUBPIXEL + 0.5))
        fixed[i, 1] = int(np.floor(points[i, 1] * _SUBPIXEL + 0.5))
    half = _SUBPIXEL // 2
    for t in range(faces.shape[0]):
        a, b, c = faces[t, 0], faces[t, 1], faces[t, 2]
        x0, y0 = fixed[a, 0], fixed[a, 1]
        x1, y1 = fixed[b, 0], fixed[b, 1]
        x2, y2 = fixed[c, 0], fixed[c, 1]
        area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
        if area == 0 or (area > 0 and not two_sided[t]):  # rows count downwards, so front faces have negative areas
            continue
        if points[a, 2] <= 0 or points[b, 2] <= 0 or points[c, 2] <= 0:
            continue
        sign = 1 if area > 0 else -1
        left = max(0, -((half - min(x0, x1, x2)) // _SUBPIXEL))
        right = min(width - 1, (max(x0, x1, x2) - half) // _SUBPIXEL)
        top = max(0, -((half - min(y0, y1, y2)) // _SUBPIXEL))
        bottom = min(height - 1, (max(y0, y1, y2) - half) // _SUBPIXEL)
        for row in range(top, bottom + 1):
            y = row * _SUBPIXEL + half
            for column in range(left, right + 1):
                x = column * _SUBPIXEL + half
                e0 = sign * ((x2 - x1) * (y - y1) - (y2 - y1) * (x - x1))
                e1 = sign * ((x0 - x2) * (y - y2) - (y0 - y2) * (x - x2))
                e2 = sign * ((x1 - x0) * (y - y0) - (y1 - y0) * (x - x0))
                if not (
                    _inside(e0, sign * (x2 - x1), sign * (y2 - y1))
                    and _inside(e1, sign * (x0 - x2), sign * (y0 - y2))
                    and _inside(e2, sign * (x1 - x0), sign * (y1 - y0))
                ):
                    continue
                w1, w2 = e1 / (sign * area), e2 / (sign * area)
                near = np.float32((1 - w1 - w2) * points[a, 2] + w1 * points[b, 2] + w2 * points[c, 2])
                if near > nearness[row, column]:
                    nearness[row, column] = near
                    triangles[row, column] = t
                    weights[row, column, 0] = w1
                    weights[row, column, 1] = w2
    return triangles, weights, nearness


def rasterise(points: Floats, faces: Ints, two_sided: NDArray[np.bool_], height: int, width: int) -> Buffer:
    """The nearest triangle in the centre of each pixel.

    A centre on an edge that two triangles share belongs to one of them: no gap, no pixel counted twice. Of equally near
    triangles the first is shown.

    Args:
        points: (V, 3) of the vertices: column and row in pixels, from the image's upper left corner, and a nearness
            above 0 that is linear on the screen, larger for what is nearer. Triangles with a vertex of nearness 0 or
            less are left out.
        faces: (T, 3), counter-clockwise seen from outside.
        two_sided: (T,) whether a triangle is seen from behind too.
        height, width: of the image, pixels.
    """
    return Buffer(*_rasterise(points, faces, two_sided, height, width))


@compiled
def _gather(
    triangles: Ints,
    weights: Floats,
    nearness: Floats,
    points: Floats,
    faces: Ints,
    labels: Ints,
    coords: Floats,
    vertices: Floats,
    normals: Floats,
    two_sided: NDArray[np.bool_],
    eye: Floats,
) -> tuple[Ints, Ints, Ints, Floats, Floats, Floats, Floats]:
    height, width = triangles.shape
    count = 0
    for row in range(height):
        for column in range(width):
            count += triangles[row, column] >= 0
    rows, columns, kinds = np.empty(count, np.int32), np.empty(count, np.int32), np.empty(count, np.int32)
    where, depth = np.empty((count, coords.shape[1]), np.float32), np.empty(count, np.float32)
    up, at = np.empty((count, 3), np.float32), np.empty((count, 3), np.float32)
    i = 0
    for row in range(height):
        for column in range(width):
            t = triangles[row, column]
            if t < 0:
                continue
            a, b, c = faces[t, 0], faces[t, 1], faces[t, 2]
            near = nearness[row, column]
            # On the screen values are linear only when divided by depth.
            w1 = weights[row, column, 0] * points[b, 2] / near
            w2 = weights[row, column, 1] * points[c, 2] / near
            w0 = np.float32(1) - w1 - w2
            rows[i], columns[i], kinds[i], depth[i] = row, column, labels[t], np.float32(1) / near
            for k in range(coords.shape[1]):
                where[i, k] = w0 * coords[a, k] + w1 * coords[b, k] + w2 * coords[c, k]
            for k in range(3):
                up[i, k] = w0 * normals[a, k] + w1 * normals[b, k] + w2 * normals[c, k]
                at[i, k] = w0 * vertices[a, k] + w1 * vertices[b, k] + w2 * vertices[c, k]
            if two_sided[t]:
                towards = (
                    up[i, 0] * (eye[0] - at[i, 0]) + up[i, 1] * (eye[1] - at[i, 1]) + up[i, 2] * (eye[2] - at[i, 2])
                )
                if towards < 0:
                    up[i, 0], up[i, 1], up[i, 2] = -up[i, 0], -up[i, 1], -up[i, 2]
            i += 1
    return rows, columns, kinds, where, up, at, depth


def gather(
    buffer: Buffer,
    points: Floats,
    faces: Ints,
    labels: Ints,
    coords: Floats,
    vertices: Floats,
    two_sided: NDArray[np.bool_],
    eye: Floats,
) -> Fragments:
    """What the pixels of a buffer show, interpolated as perspective asks.

    Args:
        buffer: of `rasterise`, whose nearness is 1 / depth in metres.
        points: (V, 3) as given to `rasterise`.
        faces: (T, 3).
        labels: (T,) of the triangles.
        coords: (V, K) where on the body the vertices are.
        vertices: (V, 3) in the world.
        two_sided: (T,) whose normals turn to the camera.
        eye: (3,) where the camera is, in the world.
    """
    rows, columns, kinds, where, up, at, depth = _gather(
        buffer.triangles,
        buffer.weights,
        buffer.nearness,
        points,
        faces,
        labels,
        coords,
        vertices,
        vertex_normals(vertices, faces),
        two_sided,
        eye,
    )
    return Fragments(rows, columns, kinds, where, _unit(up), at, depth)
