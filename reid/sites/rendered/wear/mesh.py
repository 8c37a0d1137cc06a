"""Triangles that move with the bones of a body, and the names of what they show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Ints = NDArray[np.int32]

INFLUENCES = 4  # bones that move a vertex, at most


class Label(IntEnum):
    """What a triangle shows. Paint and folds are chosen by it."""

    SKIN_TORSO = 0
    SKIN_ARM = 1
    SKIN_HAND = 2
    SKIN_LEG = 3
    SKIN_FOOT = 4
    SKIN_HEAD = 5
    EYE = 6
    HAIR = 7  # what stands on the skull: volume, buns, braids
    HAIR_SHEET = 8  # what hangs
    BEARD = 9
    HAT = 10
    BRIM = 11
    HEADSCARF = 12
    HEADSCARF_END = 13  # what falls on the chest
    HOOD = 14  # up, or down on the back
    LOWER = 15  # trousers, shorts, leggings, tights
    SKIRT = 16  # skirts and what a dress is below the hips
    UPPER = 17  # shirts, jumpers, dresses: the torso
    UPPER_SLEEVE = 18
    OUTER = 19  # jackets and coats over them: the torso
    OUTER_SLEEVE = 20
    OUTER_TAIL = 21  # coats and jackets below the hips
    UPPER_COLLAR = 22
    SCARF = 23
    SCARF_END = 24
    SHOE = 25
    SOLE = 26
    BAG = 27
    BAG_PART = 28  # flaps and pockets
    STRAP = 29
    UPPER_TAIL = 30  # shirts and jumpers below the hips
    OUTER_COLLAR = 31


TWO_SIDED = frozenset(
    {
        Label.HAIR_SHEET,
        Label.BRIM,
        Label.HEADSCARF_END,
        Label.HOOD,
        Label.SKIRT,
        Label.OUTER,
        Label.OUTER_TAIL,
        Label.UPPER_TAIL,
        Label.UPPER_COLLAR,
        Label.OUTER_COLLAR,
        Label.SCARF_END,
        Label.STRAP,
    }
)


@dataclass(frozen=True)
class Mesh:
    """Triangles that move with the bones of one body, at rest."""

    vertices: Floats  # (V, 3) metres, rest position of this person
    bones: Ints  # (V, 4) indices of bones
    weights: Floats  # (V, 4), rows sum to 1
    coords: Floats  # (V, 4) on the average adult's body at rest: x, y, z, and t along the arm (shoulder 0, wrist 1;
    #                 0 elsewhere); of attached things their own coordinates in the first three
    faces: Ints  # (T, 3) vertices, counter-clockwise seen from outside
    labels: Ints  # (T,) a Label each triangle


def rigid(vertices: Floats, coords: Floats, faces: Ints, label: Label, bone: int) -> Mesh:
    """A thing that moves with one bone: `vertices` (V, 3), `coords` (V, 3) or (V, 4), `faces` (T, 3)."""
    count = len(vertices)
    bones = np.full((count, INFLUENCES), bone, np.int32)
    weights = np.zeros((count, INFLUENCES), np.float32)
    weights[:, 0] = 1
    whole = np.zeros((count, 4), np.float32)
    whole[:, : coords.shape[1]] = coords
    labels = np.full(len(faces), int(label), np.int32)
    return Mesh(vertices.astype(np.float32), bones, weights, whole, faces.astype(np.int32), labels)


def join(meshes: Sequence[Mesh]) -> Mesh:
    """One mesh of several, in their order."""
    starts = np.cumsum([0] + [len(mesh.vertices) for mesh in meshes])
    return Mesh(
        np.concatenate([mesh.vertices for mesh in meshes]),
        np.concatenate([mesh.bones for mesh in meshes]),
        np.concatenate([mesh.weights for mesh in meshes]),
        np.concatenate([mesh.coords for mesh in meshes]),
        np.concatenate([mesh.faces + np.int32(start) for mesh, start in zip(meshes, starts[:-1], strict=True)]),
        np.concatenate([mesh.labels for mesh in meshes]),
    )


def chosen(mesh: Mesh, faces: NDArray[np.bool_]) -> Mesh:
    """The faces where `faces` (T,) is true, with the vertices that they need."""
    kept = mesh.faces[faces]
    used = np.zeros(len(mesh.vertices), np.bool_)
    used[kept] = True
    renumbered = (np.cumsum(used) - 1).astype(np.int32)
    return Mesh(
        mesh.vertices[used],
        mesh.bones[used],
        mesh.weights[used],
        mesh.coords[used],
        renumbered[kept],
        mesh.labels[faces],
    )


def _merged(
    bones: Ints, weights: Floats, first: NDArray[np.int64], second: NDArray[np.int64], share: Floats
) -> tuple[Ints, Floats]:
    """Bones and weights of points between vertices: the strongest of both ends' (share 0: the first)."""
    names = np.concatenate([bones[first], bones[second]], 1)
    values = np.concatenate([weights[first] * (1 - share[:, None]), weights[second] * share[:, None]], 1)
    same = names[:, :, None] == names[:, None, :]
    total = (values[:, None, :] * same).sum(2)
    total[np.tril(same, -1).any(2)] = 0  # a bone named by both ends counts once
    order = np.argsort(-total, 1, kind="stable")[:, :INFLUENCES]
    kept = np.take_along_axis(total, order, 1)
    return np.take_along_axis(names, order, 1), (kept / kept.sum(1, keepdims=True)).astype(np.float32)


def cut(mesh: Mesh, values: Floats) -> Mesh:
    """The part where `values` (V,), read linearly between the vertices, are at least 0: an edge across triangles."""
    inside = values >= 0
    count = inside[mesh.faces].sum(1)
    whole, crossed = mesh.faces[count == 3], np.flatnonzero((count == 1) | (count == 2))
    if not len(crossed):
        return chosen(mesh, count == 3)
    # turned so that the vertex which lies alone on its side comes first
    corner = mesh.faces[crossed]
    sides = inside[corner]
    lone = np.argmax(sides == (count[crossed] == 1)[:, None], 1)
    turned = np.take_along_axis(corner, (lone[:, None] + np.arange(3)) % 3, 1).astype(np.int64)
    edges = np.concatenate([turned[:, [0, 1]], turned[:, [0, 2]]])
    ends, number = np.unique(np.sort(edges, 1), axis=0, return_inverse=True)
    first, second = ends[:, 0], ends[:, 1]
    share = (values[first] / (values[first] - values[second])).astype(np.float32)

    def between(array: Floats) -> Floats:
        return (array[first] + (array[second] - array[first]) * share[:, None]).astype(np.float32)

    bones, weights = _merged(mesh.bones, mesh.weights, first, second, share)
    made = (number.reshape(-1) + len(mesh.vertices)).astype(np.int32)
    left, right = made[: len(crossed)], made[len(crossed) :]
    alone = inside[turned[:, 0]]
    a, b, c = turned[:, 0].astype(np.int32), turned[:, 1].astype(np.int32), turned[:, 2].astype(np.int32)
    tip = np.stack([a, left, right], 1)[alone]
    near, far = np.stack([left, b, c], 1)[~alone], np.stack([left, c, right], 1)[~alone]
    labels = mesh.labels[crossed]
    faces = np.concatenate([whole, tip, near, far])
    parts = Mesh(
        np.concatenate([mesh.vertices, between(mesh.vertices)]),
        np.concatenate([mesh.bones, bones]),
        np.concatenate([mesh.weights, weights]),
        np.concatenate([mesh.coords, between(mesh.coords)]),
        faces,
        np.concatenate([mesh.labels[count == 3], labels[alone], labels[~alone], labels[~alone]]),
    )
    return chosen(parts, np.ones(len(faces), np.bool_))
