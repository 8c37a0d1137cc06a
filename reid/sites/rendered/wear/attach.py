"""Fasten things to a body: shapes made on the reference body follow each person's, and move with the nearest bones.

All that is worn on the head, the feet and the back is built on the reference body (body.py), in its coordinates, and
then carried over: an affine map fitted to a region of the body, and what it leaves at the nearest vertices.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from reid.sites.rendered.body.body import Body, Shape
from reid.sites.rendered.wear.mesh import INFLUENCES, Floats, Ints, Label, Mesh

# Heights of the reference body, metres (z of its frame).
HAIRLINE, BROWS, EYES, NOSE, MOUTH, CHIN, NAPE = 0.8175, 0.774, 0.758, 0.721, 0.690, 0.65, 0.692
SHOULDERS, ANKLES, SOLES = 0.59, -0.743, -0.818
HEAD_CENTRE = (0.0, -0.05, 0.754)  # inside the skull, at the height of the eyes

REGIONS: dict[str, tuple[str, ...]] = {
    "head": ("head", "neck02", "neck03"),
    "torso": ("neck01", "spine", "clavicle", "shoulder", "root", "pelvis"),
    "hips": ("root", "spine05", "pelvis", "upperleg01"),
    "leg.L": ("lowerleg01.L", "lowerleg02.L", "foot.L", "toes.L"),
    "leg.R": ("lowerleg01.R", "lowerleg02.R", "foot.R", "toes.R"),
}
Values = NDArray[np.floating[Any]]
NEIGHBOURS = 4  # vertices of the body that a point follows


@dataclass(frozen=True)
class BodyRegion:
    """Vertices of the reference body that are moved most by some bones."""

    vertices: Ints  # (N,) indices into the part "body"
    reference: Floats  # (N, 3)
    tree: cKDTree


@lru_cache(maxsize=16)
def region(body: Body, name: str) -> BodyRegion:
    """A region of `REGIONS`, made once a body."""
    part = body.parts["body"]
    strongest = part.bones[np.arange(len(part.bones)), part.weights.argmax(1)]
    wanted = np.array([bone.startswith(REGIONS[name]) for bone in body.bones])
    vertices = np.flatnonzero(wanted[strongest]).astype(np.int32)
    return BodyRegion(vertices, part.reference[vertices], cKDTree(part.reference[vertices]))


def vector(*values: float) -> Floats:
    """Numbers (N,) as an array."""
    return np.array(values, np.float32)


def near(tree: cKDTree, points: Floats) -> tuple[Ints, Floats]:
    """The nearest (P, NEIGHBOURS) rows of a tree and their shares, which fall with the squared distance."""
    distances, rows = tree.query(points, NEIGHBOURS)
    shares = 1 / (distances.astype(np.float32) ** 2 + np.float32(1e-5))
    return rows, (shares / shares.sum(1, keepdims=True)).astype(np.float32)


def carried_over(points: Floats, body: Body, shape: Shape, name: str) -> Floats:
    """Points (P, 3) beside a region of the reference body, as far beside this person's."""
    part = region(body, name)
    person = shape.vertices["body"][part.vertices]
    spread = np.concatenate([part.reference, np.ones((len(person), 1), np.float32)], 1).astype(np.float64)
    # numpy's own sums, not those of BLAS: the same bits however many threads that has
    squares = np.einsum("ni,nj->ij", spread, spread, optimize=False)
    affine = np.linalg.solve(squares, np.einsum("ni,nj->ij", spread, person.astype(np.float64), optimize=False))
    left = (person - np.einsum("ni,ij->nj", spread, affine, optimize=False)).astype(np.float32)
    rows, shares = near(part.tree, points)
    moved = np.einsum("ni,ij->nj", points.astype(np.float64), affine[:3], optimize=False) + affine[3]
    return (moved + (left[rows] * shares[..., None]).sum(1)).astype(np.float32)


def followed(points: Floats, body: Body, name: str) -> tuple[Ints, Floats]:
    """Bones and weights (P, 4) of the vertices of a region that lie nearest to points (P, 3)."""
    part = region(body, name)
    _, rows = part.tree.query(points)
    vertices = part.vertices[rows]
    return body.parts["body"].bones[vertices], body.parts["body"].weights[vertices]


def between_bones(body: Body, first: str, second: str, share: Floats) -> tuple[Ints, Floats]:
    """Bones and weights (P, 4) of points that follow `second` by `share` (P,) and `first` by the rest."""
    bones = np.zeros((len(share), INFLUENCES), np.int32)
    bones[:, 0], bones[:, 1] = body.bone(first), body.bone(second)
    weights = np.zeros((len(share), INFLUENCES), np.float32)
    weights[:, 0], weights[:, 1] = 1 - share, share
    return bones, weights


def with_bones(vertices: Floats, coords: Floats, faces: Ints, labels: Ints | Label, bones: tuple[Ints, Floats]) -> Mesh:
    """A mesh of `vertices` (V, 3), own `coords` (V, 3), `faces` (T, 3), one label or (T,), and bones with weights."""
    whole = np.zeros((len(vertices), 4), np.float32)
    whole[:, :3] = coords
    named = np.full(len(faces), int(labels), np.int32) if isinstance(labels, Label) else labels
    return Mesh(vertices.astype(np.float32), bones[0], bones[1], whole, faces, named)


def empty() -> Mesh:
    """Nothing."""
    return Mesh(
        np.zeros((0, 3), np.float32),
        np.zeros((0, INFLUENCES), np.int32),
        np.zeros((0, INFLUENCES), np.float32),
        np.zeros((0, 4), np.float32),
        np.zeros((0, 3), np.int32),
        np.zeros(0, np.int32),
    )


@lru_cache(maxsize=64)
def grid_faces(rows: int, columns: int, closed: bool = False) -> Ints:
    """Triangles of `rows` x `columns` points, row by row; closed: the last column is joined to the first.

    Seen from outside rows go downwards and columns to the right.
    """
    row, column = np.meshgrid(np.arange(rows - 1), np.arange(columns if closed else columns - 1), indexing="ij")
    a, b = row * columns + column, row * columns + (column + 1) % columns
    c, d = a + columns, b + columns
    return np.stack([a, c, b, b, c, d], -1).reshape(-1, 3).astype(np.int32)


def tube(path: Floats, widths: Floats, sides: int = 8) -> tuple[Floats, Floats, Ints]:
    """A tube around `path` (N, 3) with half-axes `widths` (N, 2): across (horizontal), and across that.

    Returns its points, coordinates (angle / 2 pi, share of the length, 0) and triangles. Widths of 0 close the ends.
    """
    along = np.gradient(path.astype(np.float64), axis=0)
    along /= np.linalg.norm(along, axis=1, keepdims=True) + 1e-9
    across = np.cross(along, (0.0, 0.0, 1.0))
    flat = np.linalg.norm(across, axis=1) < 0.2  # upright: any horizontal direction will do, the same for all
    across[flat] = (1.0, 0.0, 0.0)
    across -= along * (across * along).sum(1, keepdims=True)
    across /= np.linalg.norm(across, axis=1, keepdims=True) + 1e-9
    for row in range(1, len(across)):  # no twist where the path turns upright
        if across[row] @ across[row - 1] < 0:
            across[row] *= -1
    other = np.cross(along, across)
    angles = np.linspace(0, 2 * np.pi, sides, endpoint=False)
    points = (
        path[:, None]
        + across[:, None] * (np.cos(angles)[None, :, None] * widths[:, None, :1])
        + other[:, None] * (np.sin(angles)[None, :, None] * widths[:, None, 1:])
    )
    share = np.broadcast_to(np.linspace(0, 1, len(path))[:, None], points.shape[:2])
    turn = np.broadcast_to(angles / (2 * np.pi), points.shape[:2])
    coords = np.stack([turn, share, np.zeros_like(share)], -1)
    faces = grid_faces(len(path), sides, True)[:, ::-1]
    return points.reshape(-1, 3).astype(np.float32), coords.reshape(-1, 3).astype(np.float32), faces


def rounded_box(power: float, rows: int = 9, columns: int = 16) -> tuple[Floats, Ints]:
    """A box of half-axes 1 whose edges are round: power 1 is a ball, 0.2 nearly a box. Points (V, 3) and triangles."""
    # more rows and columns where the surface bends
    up = np.linspace(np.pi / 2, -np.pi / 2, rows)
    round_ = np.linspace(0, 2 * np.pi, columns, endpoint=False) + np.pi / columns

    def bent(values: Floats) -> Floats:
        return np.sign(values) * np.abs(values) ** np.float32(power)

    flat = bent(np.cos(up).astype(np.float32))[:, None]
    points = np.stack(
        [
            flat * bent(np.cos(round_).astype(np.float32)),
            flat * bent(np.sin(round_).astype(np.float32)),
            np.broadcast_to(bent(np.sin(up).astype(np.float32))[:, None], (rows, columns)),
        ],
        -1,
    )
    return points.reshape(-1, 3).astype(np.float32), grid_faces(rows, columns, True)


@lru_cache(maxsize=4)
def _relief(body: Body, back: bool) -> Callable[[Floats], Floats]:
    part = region(body, "torso")
    points = part.reference
    points = points[(np.abs(points[:, 0]) < 0.2) & (points[:, 2] > -0.05)]
    # outermost vertices of a column: those which no vertex nearby lies far outside of
    tree = cKDTree(points[:, [0, 2]])
    outward = points[:, 1] if back else -points[:, 1]
    seen = outward > outward[tree.query(points[:, [0, 2]], 10)[1]].max(1) - 0.025
    tree, heights = cKDTree(points[seen][:, [0, 2]]), points[seen][:, 1]

    def depth(places: Floats) -> Floats:
        rows, shares = near(tree, places)
        return (heights[rows] * shares).sum(1).astype(np.float32)

    return depth


def back_of(body: Body, x: Floats, z: Floats) -> Floats:
    """y of the reference body's back at x and z (...,): of its shoulders where it ends."""
    return _relief(body, True)(np.stack([x.ravel(), z.ravel()], 1)).reshape(x.shape)


def chest_of(body: Body, x: Floats, z: Floats) -> Floats:
    """y of the reference body's chest and belly at x and z (...,)."""
    return _relief(body, False)(np.stack([x.ravel(), z.ravel()], 1)).reshape(x.shape)
