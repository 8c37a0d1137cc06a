"""Geometry of clothes: shells cut from the body's surface, standing off it and hanging from what bulges."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reid.sites.rendered.body.body import Body, Shape
from reid.sites.rendered.smooth import smoothstep
from reid.sites.rendered.wear.attach import between_bones, carried_over, chest_of, grid_faces, with_bones
from reid.sites.rendered.wear.mesh import Label, Mesh, cut, join, rigid
from reid.sites.rendered.wear.outfit import NECK, Bottom, Top
from reid.sites.rendered.wear.surface import CROTCH, Form, Region

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Mask = NDArray[np.bool_]

HIPS = 0.045  # below this height garments hang as rings (tails.py), above it they are shells on the body
_DIRECTIONS = 32
_ANGLES = np.linspace(-np.pi, np.pi, _DIRECTIONS, endpoint=False)
_CIRCLE = np.stack([np.cos(_ANGLES), np.sin(_ANGLES)], 1)
_LEVELS = np.arange(0.46, 0.01, -0.03)  # heights at which the torso is measured, from the armpits down
_FRONT = -0.03  # y of the plane between front and back


def along(points: NDArray[np.floating[Any]], directions: Doubles) -> Doubles:
    """How far points (..., 2) lie in directions (N, 2): (..., N). Without BLAS, whose bits depend on its threads."""
    return np.asarray(points[..., :1] * directions[:, 0] + points[..., 1:2] * directions[:, 1], np.float64)


def radii_of_supports(supports: Doubles, angles: Doubles) -> Doubles:
    """Distances (..., N) from the centre to the edge of the convex sets whose widths in directions are `supports`."""
    cosine = np.cos(angles[:, None] - angles[None, :])
    cosine = np.where(cosine > 0.05, cosine, np.inf)
    with np.errstate(divide="ignore"):
        reach = np.where(np.isfinite(cosine), supports[..., None, :] / cosine, np.inf)
    return np.asarray(reach.min(-1))


def hung(form: Form, surface: Floats, ease: float, cling: float) -> Floats:
    """The torso's part of `surface` (V, 3), `ease` metres off and falling from where it is widest; the rest `ease` off.

    Cloth spans hollows between what bulges (convex at each height) and falls back in below by `cling` (0: not at all,
    1: 0.9 m a metre).
    """
    # thin on the shoulders, which carry it, and full from the chest and the upper arm on
    arm = (form.regions == Region.ARM) | (form.regions == Region.HAND)
    t = form.coords[:, 3]
    sleeve = 0.45 + 0.55 * smoothstep(0.0, 0.25, t) - 0.4 * smoothstep(0.78, 0.98, t)  # narrower at the wrist
    full = np.where(arm, sleeve, 1 - 0.6 * smoothstep(0.44, 0.55, form.coords[:, 2]))
    out = surface + form.normals * (np.float32(ease) * full)[:, None].astype(np.float32)
    torso = form.regions == Region.TORSO
    points, heights = surface[torso], form.coords[torso, 2]
    supports = np.empty((len(_LEVELS), _DIRECTIONS))
    centres = np.empty(len(_LEVELS))
    for k, level in enumerate(_LEVELS):
        ring = points[np.abs(heights - level) < 0.03]
        centres[k] = (ring[:, 1].min() + ring[:, 1].max()) / 2
        supports[k] = along(ring[:, :2] - [0, centres[k]], _CIRCLE).max(0) + ease
    centre = float(centres.mean())
    supports += (centres - centre)[:, None] * _CIRCLE[:, 1]
    fall = 0.9 * cling * 0.03
    for k in range(1, len(_LEVELS)):
        supports[k] = np.maximum(supports[k], supports[k - 1] - fall)
    table = radii_of_supports(supports, _ANGLES)
    chosen = torso & (form.coords[:, 2] < 0.50)
    flat = surface[chosen, :2] - np.array([0, centre], np.float32)
    radius = np.linalg.norm(flat, axis=1)
    row = np.clip((_LEVELS[0] - form.coords[chosen, 2]) / 0.03, 0, len(_LEVELS) - 1.001)
    column = (np.arctan2(flat[:, 1], flat[:, 0]) + np.pi) / (2 * np.pi) * _DIRECTIONS
    r, c = row.astype(int), column.astype(int)
    a, b = row - r, column - c
    c, after = c % _DIRECTIONS, (c + 1) % _DIRECTIONS
    target = (table[r, c] * (1 - b) + table[r, after] * b) * (1 - a) + (
        table[r + 1, c] * (1 - b) + table[r + 1, after] * b
    ) * a
    share = smoothstep(0.50, 0.41, form.coords[chosen, 2])  # not in the armpits
    grown = np.maximum(target / np.maximum(radius, 1e-3), 1)
    wide = flat * (1 + (grown - 1) * share)[:, None] + np.array([0, centre], np.float32)
    off = np.linalg.norm(out[chosen, :2] - [0, centre], axis=1) > np.linalg.norm(wide - [0, centre], axis=1)
    out[chosen, :2] = np.where(off[:, None], out[chosen, :2], wide)
    return out.astype(np.float32)


def leg_axis(body: Body, heads: Floats, heights: Floats, left: Mask) -> Floats:
    """Points (N, 3) on the axes of the legs at coords' heights."""
    out = np.empty((len(heights), 3), np.float32)
    for side, mask in (("L", left), ("R", ~left)):
        bones = [body.bone(f"{name}.{side}") for name in ("upperleg01", "lowerleg01", "foot")]
        reference, own = body.heads[bones], heads[bones]
        for k in range(3):
            out[mask, k] = np.interp(-heights[mask], -reference[:, 2], own[:, k])
    return out


def trouser_surface(body: Body, shape: Shape, form: Form, surface: Floats, bottom: Bottom) -> Floats:
    """`surface` (V, 3) with legs and hips as wide as the trousers."""
    z = form.coords[:, 2]
    leg = (form.regions == Region.LEG) | (form.regions == Region.FOOT)
    hips = (form.regions == Region.TORSO) & (z < bottom.rise + 0.05)
    out = surface.copy()
    out[hips | leg] += form.normals[hips | leg] * np.float32(bottom.ease)
    legs = np.flatnonzero(leg)
    axis = leg_axis(body, shape.heads, z[legs], form.coords[legs, 0] > 0)
    flat = surface[legs, :2] - axis[:, :2]
    radius = np.linalg.norm(flat, axis=1)
    stout = float(np.clip(np.median(radius[(z[legs] < -0.15) & (z[legs] > -0.3)]) / 0.075, 0.9, 1.6))
    knee, low = -0.32, max(bottom.hem, -0.78)
    wanted = np.interp(-z[legs], [-CROTCH, -knee, -min(low, knee - 0.02)], [0.0, bottom.knee * stout, bottom.ankle])
    if bottom.hem > knee:
        wanted = np.interp(-z[legs], [-CROTCH, -bottom.hem], [0.0, bottom.knee * stout])
    wanted = np.maximum(wanted, radius + bottom.ease)
    # feet stand out of trousers: their sides are as wide as the axis says, not as long as the foot
    wanted = np.where(form.regions[legs] == Region.FOOT, max(bottom.ankle, 0.055), wanted)
    share = smoothstep(CROTCH - 0.02, CROTCH - 0.16, z[legs])
    out[legs, :2] += (axis[:, :2] + flat * (wanted / np.maximum(radius, 1e-3))[:, None] - out[legs, :2]) * share[
        :, None
    ]
    return out


def shell(form: Form, surface: Floats, faces: Mask, label: Label, arms: Label | None = None) -> Mesh:
    """The chosen faces of `form` at the places `surface` (V, 3); faces of the arms have a label of their own."""
    labels = np.full(int(faces.sum()), int(label), np.int32)
    if arms is not None:
        labels[form.face_regions[faces] == Region.ARM] = int(arms)
    return Mesh(surface, form.bones, form.weights, form.coords, form.faces[faces], labels)


def neckline(top: Top, coords: Floats) -> Floats:
    """Height (N,) of the neckline at coords (N, 4): it rises to the back and drops in front, round or as a V."""
    x, y = np.abs(coords[:, 0]), coords[:, 1]
    width = 0.075 + 0.3 * max(0.0, top.drop - 0.05)
    inside = np.clip(1 - x / width, 0, 1)
    drop = inside if top.vee else np.sqrt(1 - (1 - inside) ** 2)
    return np.asarray(top.neck + 0.35 * (y + 0.02) - top.drop * drop * (y < _FRONT), np.float32)


def opening(top: Top, coords: Floats) -> Floats:
    """How far (N,) coords (N, 4) lie outside an open front: negative where there is no cloth."""
    z = coords[:, 2]
    half = top.gap * (0.75 + 0.5 * np.clip(0.3 - z, 0, 1))
    if top.vee:
        half = half + 0.35 * np.clip(z - 0.40, 0, 0.12)
    return np.where(coords[:, 1] < _FRONT, np.abs(coords[:, 0]) - half, np.float32(1.0)).astype(np.float32)


def top_mesh(form: Form, surface: Floats, top: Top, label: Label, sleeve: Label) -> Mesh:
    """A shirt, jumper, jacket: cut at neck, sleeves, hem (or at the hips, below which it hangs) and open front."""
    z = form.coords[form.faces, 2]
    region = form.face_regions
    torso = (region == Region.TORSO) | ((region == Region.HEAD) & (z.min(1) < top.neck + 0.05))
    torso &= z.max(1) > max(top.hem, HIPS) - 0.05
    arms = (region == Region.ARM) | (region == Region.HAND)
    mesh = shell(form, surface, torso | arms, label, sleeve)
    mesh = cut(mesh, neckline(top, mesh.coords) - mesh.coords[:, 2])
    mesh = cut(mesh, np.float32(top.sleeve) - mesh.coords[:, 3])
    mesh = cut(mesh, np.where(mesh.coords[:, 3] > 0, np.float32(1), mesh.coords[:, 2] - max(top.hem, HIPS)))
    if top.gap:
        mesh = cut(mesh, opening(top, mesh.coords))
    return mesh


def hung_from(mesh: Mesh, root: int) -> Mesh:
    """A garment whose lower part moves with the bone `root` alone, as what hangs below it does, not with the thighs."""
    bones, weights = mesh.bones.copy(), mesh.weights.copy()
    low = smoothstep(HIPS + 0.14, HIPS + 0.04, mesh.coords[:, 2]) * (mesh.coords[:, 3] <= 0)
    last = weights.argmin(1)
    rows = np.arange(len(bones))
    weights *= (1 - low)[:, None]
    there = low > 0
    weights[rows[there], last[there]] = low[there]
    bones[rows[there], last[there]] = root
    return replace(mesh, bones=bones, weights=weights / weights.sum(1, keepdims=True))


def collar_mesh(form: Form, surface: Floats, top: Top, label: Label) -> Mesh:
    """What stands up around the neck."""
    z = form.coords[form.faces, 2]
    near = (form.face_regions == Region.HEAD) | (form.face_regions == Region.TORSO)
    faces = near & (z.max(1) > top.neck - 0.08) & (np.abs(form.coords[form.faces, 0]).max(1) < 0.10)
    out = surface + form.normals * np.float32(0.006)
    out[:, :2] += form.normals[:, :2] * np.float32(0.008)
    mesh = shell(form, out, faces, label)
    base = mesh.coords[:, 2] - top.neck - 0.35 * (mesh.coords[:, 1] + 0.02)
    mesh = cut(mesh, np.float32(top.collar) - base)
    mesh = cut(mesh, (mesh.coords[:, 2] - neckline(top, mesh.coords) + np.float32(0.012)))
    if top.gap or top.vee:
        front = mesh.coords[:, 1] < _FRONT
        return cut(mesh, np.where(front, np.abs(mesh.coords[:, 0]) - 0.022, np.float32(1)).astype(np.float32))
    return mesh


def bottom_mesh(form: Form, surface: Floats, bottom: Bottom) -> Mesh:
    """Trousers, or the part of a skirt that lies on the hips."""
    z = form.coords[form.faces, 2]
    low = HIPS if bottom.skirt else bottom.hem
    region = form.face_regions
    lower = (region == Region.TORSO) | (region == Region.LEG) | (region == Region.FOOT)
    faces = lower & (z.min(1) < bottom.rise) & (z.max(1) > low)
    mesh = shell(form, surface, faces, Label.SKIRT if bottom.skirt else Label.LOWER)
    mesh = cut(mesh, np.float32(bottom.rise) - mesh.coords[:, 2])
    return cut(mesh, mesh.coords[:, 2] - np.float32(low))


def tights_mesh(form: Form, surface: Floats, feet: bool) -> Mesh:
    """Tights: legs, and feet where shoes show them."""
    region = form.face_regions
    faces = (region == Region.LEG) | ((region == Region.FOOT) & feet)
    faces |= (region == Region.FOOT) & (form.coords[form.faces, 2].max(1) > -0.76)
    faces = faces | ((region == Region.TORSO) & (form.coords[form.faces, 2].max(1) < 0.1))
    return shell(form, surface, faces, Label.LOWER)


def _ring(radii: Doubles, tubes: Doubles, heights: Doubles, angles: Doubles, label: Label, bone: int) -> Mesh:
    """A bent tube around the neck: its middle at `radii`, `heights` (N,) in directions `angles`, `tubes` thick."""
    sides = 8
    turn = np.linspace(0, 2 * np.pi, sides, endpoint=False)
    reach = radii[:, None] + tubes[:, None] * np.cos(turn)
    points = np.stack(
        [
            reach * np.cos(angles)[:, None],
            reach * np.sin(angles)[:, None],
            heights[:, None] + tubes[:, None] * np.sin(turn) * 0.8,
        ],
        2,
    )
    i, j = np.meshgrid(np.arange(len(angles) - 1), np.arange(sides), indexing="ij")
    a, b = i * sides + j, i * sides + (j + 1) % sides
    faces = np.concatenate([np.stack([a, a + sides, b], 2), np.stack([b, a + sides, b + sides], 2)]).reshape(-1, 3)
    length = np.broadcast_to(angles[:, None] * 0.1, reach.shape)
    coords = np.stack([length, np.broadcast_to(turn * 0.04, reach.shape), points[:, :, 2]], 2)
    return rigid(points.reshape(-1, 3).astype(np.float32), coords.reshape(-1, 3).astype(np.float32), faces, label, bone)


def scarf_mesh(body: Body, shape: Shape, end: float, clearance: float) -> Mesh:
    """A scarf around the neck, one end of which hangs on the chest down to height `end` (NECK: none hangs).

    `clearance` is how far clothes stand off the chest.
    """
    angles = np.linspace(-0.5 * np.pi, 1.5 * np.pi, 17)
    front = np.clip(-np.sin(angles), 0, 1)
    radii, tubes, heights = 0.07 + 0.018 * front, 0.038 + 0.012 * front, 0.005 + 0.045 * np.sin(angles)
    ring = _ring(radii, tubes, heights, angles, Label.SCARF, body.bone("spine01"))
    vertices = ring.vertices + shape.heads[body.bone("neck01")] + np.array([0, 0.01, 0], np.float32)
    ring = replace(ring, vertices=vertices.astype(np.float32))
    if end >= NECK:
        return ring
    rows, columns = np.linspace(NECK, end, 9, dtype=np.float32), np.linspace(-0.075, 0.02, 5, dtype=np.float32)
    z, x = np.meshgrid(rows, columns, indexing="ij")
    y = chest_of(body, x, z) - clearance - 0.03
    points = np.stack([x, y, z], 2).reshape(-1, 3).astype(np.float32)
    there = carried_over(points, body, shape, "torso")
    coords = np.stack([points[:, 2], points[:, 0], points[:, 2]], 1)
    bones = between_bones(body, "spine01", "spine03", smoothstep(0.45, 0.2, points[:, 2]))
    return join([ring, with_bones(there, coords, grid_faces(9, 5), Label.SCARF_END, bones)])
