"""The body's surface as clothes see it: regions, places along the arms, and metres around and along each part."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from reid.sites.rendered.body.body import Body, Shape
from reid.sites.rendered.raster import vertex_normals
from reid.sites.rendered.wear.mesh import Label

Floats = NDArray[np.float32]
Ints = NDArray[np.int32]


class Region(IntEnum):
    """Parts of the body; the values are those of the labels of bare skin."""

    TORSO = Label.SKIN_TORSO
    ARM = Label.SKIN_ARM
    HAND = Label.SKIN_HAND
    LEG = Label.SKIN_LEG
    FOOT = Label.SKIN_FOOT
    HEAD = Label.SKIN_HEAD


CROTCH = -0.075  # height at which the legs part
_PREFIXES = {
    "upperarm": Region.ARM,
    "lowerarm": Region.ARM,
    "wrist": Region.HAND,
    "finger": Region.HAND,
    "upperleg": Region.LEG,
    "lowerleg": Region.LEG,
    "foot": Region.FOOT,
    "toes": Region.FOOT,
    "neck02": Region.HEAD,
    "neck03": Region.HEAD,
    "head": Region.HEAD,
}


@dataclass(frozen=True)
class Form:
    """One of the body's meshes in the shape of a person, with all that clothes are cut by."""

    vertices: Floats  # (V, 3) rest position of this person
    normals: Floats  # (V, 3)
    bones: Ints  # (V, 4)
    weights: Floats  # (V, 4)
    coords: Floats  # (V, 4) as in Mesh
    regions: Ints  # (V,) a Region each vertex
    faces: Ints  # (T, 3)
    face_regions: Ints  # (T,)


def _arm(body: Body, side: str) -> Floats:
    return body.heads[[body.bone(f"{name}.{side}") for name in ("upperarm01", "lowerarm01", "wrist")]]


def arm_places(body: Body, points: Floats) -> Floats:
    """How far along the arm (shoulder 0, wrist 1; beyond it more) the reference positions (N, 3) of an arm are."""
    left = points[:, :1] > 0
    shoulder, elbow, wrist = (np.where(left, a, b) for a, b in zip(_arm(body, "L"), _arm(body, "R"), strict=True))
    upper, lower = elbow - shoulder, wrist - elbow
    first, second = np.linalg.norm(upper, axis=1), np.linalg.norm(lower, axis=1)
    above = ((points - shoulder) * upper).sum(1) / first
    below = ((points - elbow) * lower).sum(1) / second
    return (np.where(below > 0, first + below, np.minimum(above, first)) / (first + second)).astype(np.float32)


@lru_cache(maxsize=4)
def _places(body: Body, part: str) -> tuple[Floats, Ints, Ints]:
    """Coords, regions and regions of the faces of a mesh of the body, which no shape changes."""
    mesh = body.parts[part]
    kinds = np.array(
        [next((r for prefix, r in _PREFIXES.items() if name.startswith(prefix)), Region.TORSO) for name in body.bones]
    )
    votes = np.stack([(mesh.weights * (kinds[mesh.bones] == region)).sum(1) for region in Region], 1)
    regions = votes.argmax(1).astype(np.int32)
    regions[(regions == Region.LEG) & (mesh.reference[:, 2] > 0)] = Region.TORSO
    places = np.where((regions == Region.ARM) | (regions == Region.HAND), arm_places(body, mesh.reference), 0)
    coords = np.concatenate([mesh.reference, np.maximum(places, 0)[:, None]], 1).astype(np.float32)
    corners = regions[mesh.faces]
    of_faces = np.where(corners[:, 1] == corners[:, 2], corners[:, 1], corners[:, 0]).astype(np.int32)
    return coords, regions, of_faces


def form(body: Body, shape: Shape, part: str) -> Form:
    """The mesh `part` of the body ("body", "tights") in this shape."""
    mesh = body.parts[part]
    coords, regions, of_faces = _places(body, part)
    normals = vertex_normals(shape.vertices[part], mesh.faces)
    return Form(shape.vertices[part], normals, mesh.bones, mesh.weights, coords, regions, mesh.faces, of_faces)


# limbs of the average adult's left side, from the body file: points, and radii that turn angles into metres around
_ARM = np.array([[0.177, -0.020, 0.519], [0.351, -0.025, 0.324], [0.473, -0.184, 0.200]], np.float32)
_LEG = np.array([[0.108, -0.003, 0.063], [0.144, -0.037, -0.317], [0.184, -0.010, -0.743]], np.float32)
ARM_LENGTH = 0.50
_AROUND_TORSO, _AROUND_ARM, _AROUND_LEG = 0.155, 0.05, 0.08


def around_torso(coords: Floats) -> tuple[Floats, Floats]:
    """Metres around (0 in front, positive to the person's left) and along (height) at coords (N, 4) of a torso."""
    return np.arctan2(coords[:, 0], -(coords[:, 1] + 0.03)) * np.float32(_AROUND_TORSO), coords[:, 2]


def around_arm(coords: Floats) -> tuple[Floats, Floats]:
    """Metres around (0 outside) and along an arm (down from the height of the shoulder)."""
    t = coords[:, 3]
    side = np.abs(coords[:, 0])
    bend = 0.5
    upper = _ARM[0] + (t / bend)[:, None] * (_ARM[1] - _ARM[0])
    lower = _ARM[1] + ((t - bend) / (1 - bend))[:, None] * (_ARM[2] - _ARM[1])
    axis = np.where((t < bend)[:, None], upper, lower)
    out = (side - axis[:, 0]) * 0.75 + (coords[:, 2] - axis[:, 2]) * 0.66  # away from the trunk and up
    angle = np.arctan2(coords[:, 1] - axis[:, 1], out)
    along = 0.52 - ARM_LENGTH * t
    # stripes of the chest go on over the shoulder
    along = np.where(t < 0.15, np.maximum(along, coords[:, 2]), along)
    return (angle * _AROUND_ARM).astype(np.float32), along.astype(np.float32)


def around_leg(coords: Floats) -> tuple[Floats, Floats]:
    """Metres around (0 outside) and along (height) a leg."""
    z = coords[:, 2]
    x, y = (np.interp(-z, -_LEG[:, 2], _LEG[:, k]) for k in (0, 1))
    angle = np.arctan2(coords[:, 1] - y, np.abs(coords[:, 0]) - x)
    return (angle * _AROUND_LEG).astype(np.float32), z
