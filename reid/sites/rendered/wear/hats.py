"""What is worn on the head: caps, beanies, brimmed hats, headscarves, hoods, helmets; and hoods on the back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from reid.sites.rendered.body.body import Body, Shape
from reid.sites.rendered.smooth import smoothstep
from reid.sites.rendered.wear import palette
from reid.sites.rendered.wear.attach import (
    HEAD_CENTRE,
    SHOULDERS,
    back_of,
    between_bones,
    carried_over,
    chest_of,
    empty,
    grid_faces,
    rounded_box,
    tube,
    vector,
    with_bones,
)
from reid.sites.rendered.wear.materials import Cloth, paint_cloth, sample_cloth
from reid.sites.rendered.wear.mesh import Floats, Ints, Label, Mesh, join
from reid.sites.rendered.wear.skull import COLUMNS, TURNS, over_skull

Kind = Literal["none", "cap", "beanie", "brimmed", "headscarf", "hood", "helmet"]

# How common they are: men, women. 14 % of all wear something.
SHARES: dict[Kind, tuple[float, float]] = {
    "none": (0.857, 0.863),
    "cap": (0.070, 0.025),
    "beanie": (0.040, 0.025),
    "brimmed": (0.015, 0.030),
    "headscarf": (0.0, 0.045),
    "hood": (0.013, 0.010),
    "helmet": (0.005, 0.002),
}
KINDS = tuple(SHARES)
COVERING = frozenset({"headscarf", "hood"})  # nothing of the hair is seen below these

ANGLES = np.radians([0, 30, 60, 90, 120, 150, 180])
# Heights at which a hat ends at these angles from the front.
EDGES = {
    "cap": np.array([0.803, 0.802, 0.793, 0.780, 0.766, 0.757, 0.757]),
    "beanie": np.array([0.800, 0.797, 0.781, 0.764, 0.747, 0.735, 0.732]),
    "brimmed": np.array([0.803, 0.802, 0.793, 0.781, 0.770, 0.764, 0.764]),
    "helmet": np.array([0.805, 0.800, 0.780, 0.757, 0.738, 0.728, 0.728]),
    "headscarf": np.array([0.815, 0.810, 0.70, 0.66, 0.66, 0.66, 0.66]),
    "hood": np.array([0.822, 0.805, 0.69, 0.65, 0.64, 0.63, 0.63]),
}
# The upper side of the reference body's shoulders: height at distances from the middle.
_SHOULDER_X, _SHOULDER_Z = (0.058, 0.071, 0.12, 0.176, 0.2), (0.64, 0.62, 0.60, 0.58, 0.555)
COLOURS: palette.Mix = {
    "black": 38, "charcoal": 8, "grey": 8, "navy": 13, "white": 7, "beige": 5, "red": 6, "olive": 3, "burgundy": 4,
    "blue": 4, "khaki": 3, "pink": 2, "yellow": 1, "green": 2, "cream": 3, "brown": 3,
}  # fmt: skip
SCARVES: palette.Mix = {
    "black": 34, "charcoal": 4, "grey": 7, "pale grey": 4, "navy": 8, "white": 6, "beige": 8, "cream": 5, "brown": 4,
    "burgundy": 4, "pink": 4, "lilac": 3, "teal": 2, "sky": 2, "olive": 2, "green": 2, "red": 2, "mint": 1,
}  # fmt: skip


@dataclass(frozen=True)
class Hat:
    """What somebody wears on the head; lengths in metres on the reference body."""

    kind: Kind
    cloth: Cloth
    trim: palette.Colour  # brim, band or bobble
    brim: float  # how far a brim stands out
    height: float  # how far the crown stands above the skull
    droop: float  # how steeply a brim falls
    turned: bool  # a cap's peak is behind
    band: float  # height of a band or fold around the edge, 0: none
    bobble: float  # radius of a bobble, 0: none
    fall: float  # height on the chest where a headscarf ends

    @property
    def flat_above(self) -> float | None:
        """Height above which the hat presses the hair down (`hair_mesh`); None: bare."""
        return None if self.kind == "none" else {"cap": 0.765, "brimmed": 0.77}.get(self.kind, 0.745)

    @property
    def covers_hair(self) -> bool:
        """Nothing of the hair is seen."""
        return self.kind in COVERING


def sample_hat(rng: np.random.Generator, female: bool, hood: Cloth | None = None) -> Hat:
    """What somebody wears on the head.

    `hood` is the cloth of a garment's hood: its wearer has it up at times, nobody else. Every call draws alike.
    """
    shares = np.array([share[female] for share in SHARES.values()])
    if hood is None:
        shares[KINDS.index("hood")] = 0
    else:
        shares[KINDS.index("hood")] *= 5
    kind = KINDS[int(rng.choice(len(KINDS), p=shares / shares.sum()))]
    plain = sample_cloth(rng, COLOURS, plain=0.85)
    scarf = sample_cloth(rng, SCARVES, plain=0.8)
    own, other = palette.colour(rng, palette.TRIM), rng.random()
    values = rng.random(7)
    cloth = scarf if kind == "headscarf" else hood if kind == "hood" and hood is not None else plain
    height = {"beanie": 0.012 + 0.045 * values[0] ** 2, "brimmed": 0.02 + 0.035 * values[0]}.get(
        kind, 0.016 + 0.014 * values[0]
    )
    return Hat(
        kind=kind,
        cloth=cloth,
        trim=own if other < 0.35 else palette.shade(cloth.base, 0.75),
        brim=0.06 + 0.015 * values[1] if kind == "cap" else 0.035 + 0.05 * values[1],
        height=height,
        droop=0.1 + 0.3 * values[2] if kind == "cap" else -0.1 + 0.9 * values[2],
        turned=bool(values[3] < 0.1),
        band=0.025 + 0.02 * values[4] if values[4] < 0.7 else 0.0,
        bobble=0.022 + 0.012 * values[5] if kind == "beanie" and values[5] < 0.3 else 0.0,
        fall=0.40 + 0.12 * values[6],
    )


def _on_head(body: Body, points: Floats, coords: Floats, faces: Ints, labels: Ints | Label) -> Mesh:
    none = between_bones(body, "head", "spine01", np.zeros(len(points), np.float32))
    return with_bones(points, coords, faces, labels, none)


def _rows(points: Floats, turn: Floats) -> Floats:
    """Coordinates of a shell (rows, columns, 3): metres around, metres from the edge upwards, height."""
    steps = np.linalg.norm(np.diff(points[::-1], axis=0), axis=-1).cumsum(0)
    up = np.concatenate([np.zeros((1, points.shape[1])), steps])[::-1]
    around = np.broadcast_to(turn * np.float32(0.09), points.shape[:2])
    return np.stack([around, up, points[..., 2]], -1).reshape(-1, 3).astype(np.float32)


def _crown(hat: Hat, body: Body) -> tuple[Floats, Floats]:
    """Points (rows, COLUMNS, 3) of a hat without its brim, and the angles of its columns."""
    turn = TURNS
    away = np.pi - np.abs(turn) if hat.turned and hat.kind == "cap" else np.abs(turn)
    ends = np.interp(np.abs(turn) if hat.kind != "cap" else away, ANGLES, EDGES[hat.kind]).astype(np.float32)
    points, outward = over_skull(body, ends)
    down = np.linspace(0, 1, len(points))[:, None].astype(np.float32)
    top = smoothstep(0.80, 0.86, points[..., 2])
    if hat.kind == "helmet":
        thick = np.full_like(top, 0.028)
    elif hat.kind == "cap":  # the front stands up
        thick = 0.010 + (hat.height - 0.008) * smoothstep(np.radians(90), np.radians(20), away) * smoothstep(
            0, 0.5, down
        ) * smoothstep(1.3, 0.8, down)
        thick = thick + 0.004 * top
    else:
        thick = 0.012 + (hat.height - 0.012) * top
    if hat.kind == "beanie" and hat.band:
        thick = thick + 0.006 * (points[..., 2] < ends + hat.band)
    points = points + outward * thick[..., None]
    if hat.kind == "brimmed":  # a flat top with a dent
        points[..., 2] += 0.5 * hat.height * smoothstep(0.55, 0.35, down) - 0.012 * smoothstep(0.2, 0.0, down)
    if hat.kind == "beanie":  # what is too long hangs to the back
        points[..., 1] += 0.6 * (hat.height - 0.012) * top
    rim = points[-1] - outward[-1] * np.float32(0.014)  # turned in
    return np.concatenate([points, rim[None]]).astype(np.float32), turn


def _peak(hat: Hat, edge: Floats, turn: Floats) -> tuple[Floats, Floats, Ints]:
    """A cap's peak: beside the edge (COLUMNS, 3) of its crown, forwards (or backwards)."""
    side = 1.0 if hat.turned else -1.0
    spread = np.linspace(-1, 1, 13)
    middle = edge[np.abs(turn).argmin()] if not hat.turned else edge[0]
    x = 0.066 * np.sin(spread * 1.25) / np.sin(1.25)
    rear = middle[1] - side * (0.045 * (1 - np.cos(spread * 1.3)) + 0.004)
    out = hat.brim * np.sqrt(np.clip(1 - np.abs(spread) ** 2.6, 0, 1))
    share = np.linspace(0, 1, 4)[:, None]
    y = rear + side * out * share
    z = middle[2] + 0.004 - 0.014 * spread**2 - hat.droop * out * share
    points = np.stack([np.broadcast_to(x * (1 - 0.08 * share), y.shape), y, z], -1)
    coords = np.stack([points[..., 0], points[..., 1], np.broadcast_to(share, y.shape)], -1)
    faces = grid_faces(4, 13)
    return (
        points.reshape(-1, 3).astype(np.float32),
        coords.reshape(-1, 3).astype(np.float32),
        faces[:, ::-1] if side > 0 else faces,
    )


def _brim(hat: Hat, edge: Floats, turn: Floats) -> tuple[Floats, Floats, Ints]:
    """A brim all around the edge (COLUMNS, 3) of a crown."""
    share = np.linspace(0, 1, 4)[:, None]
    outward = np.stack([np.sin(turn), -np.cos(turn)], -1)
    flat = edge[None, :, :2] + outward * (hat.brim * share)[..., None]
    tilt = 0.012 * np.cos(2 * turn)  # the sides are bent up a little
    z = edge[None, :, 2] - hat.brim * share * hat.droop - tilt * share
    points = np.concatenate([flat, z[..., None]], -1)
    coords = np.stack([np.broadcast_to(turn * 0.1, z.shape), np.broadcast_to(share, z.shape), z], -1)
    return points.reshape(-1, 3).astype(np.float32), coords.reshape(-1, 3).astype(np.float32), grid_faces(4, COLUMNS)


def _wrap(hat: Hat, body: Body, clearance: float) -> list[Mesh]:
    """A headscarf or a hood that is up: over the head but for the face, and around the neck."""
    turn = TURNS
    away = np.abs(turn)
    hood = hat.kind == "hood"
    ends = np.interp(away, ANGLES, EDGES[hat.kind]).astype(np.float32)
    points, outward = over_skull(body, ends)
    top = smoothstep(0.76, 0.85, points[..., 2])
    thick = 0.024 + 0.012 * top if hood else 0.017 + 0.005 * top
    points = points + outward * thick[..., None]
    edge = smoothstep(np.radians(75), np.radians(40), away)
    if hood:  # it stands forward of the forehead and ends in a corner behind
        points[..., 1] -= 0.025 * edge * smoothstep(0.5, 1.0, np.linspace(0, 1, len(points)))[:, None]
        behind = np.exp(-(((points[..., 2] - 0.83) / 0.035) ** 2)) * smoothstep(np.radians(110), np.pi, away)
        points[..., 1] += 0.03 * behind
    low = smoothstep(0.75, 0.66, points[..., 2])
    # hangs straight over the neck instead of following it in
    radius = np.hypot(points[..., 0], points[..., 1] - HEAD_CENTRE[1])
    least = 0.088 + 0.010 * np.cos(turn) ** 2
    grown = np.maximum(radius, least * low) / np.maximum(radius, 1e-3)
    points[..., 0] *= grown
    points[..., 1] = HEAD_CENTRE[1] + (points[..., 1] - HEAD_CENTRE[1]) * grown
    inner = points[-1] - outward[-1] * np.float32(0.02)
    whole = np.concatenate([points, inner[None]]).astype(np.float32)
    label = Label.HOOD if hood else Label.HEADSCARF
    head = _on_head(body, whole.reshape(-1, 3), _rows(whole, turn), grid_faces(len(whole), COLUMNS), label)
    return [head, _collar(hat, body, clearance, turn, hood)]


def _collar(hat: Hat, body: Body, clearance: float, turn: Floats, hood: bool) -> Mesh:
    """What hangs from below the chin over neck, shoulders and chest."""
    share = np.linspace(0, 1, 10)[:, None]
    first = 0.685 - 0.022 * np.cos(turn)
    fall = (hat.fall if not hood else 0.575) + 0.02 * np.cos(3 * turn)
    sides = SHOULDERS - 0.03
    end = fall + (sides - fall) * np.sin(turn) ** 2 if not hood else np.full_like(turn, 0.572)
    z = first + (end - first) * share
    low = smoothstep(0.655, 0.575, z)
    half = 0.072 + (0.15 if not hood else 0.088) * low * 0.62
    x = np.sin(turn) * half
    cloth = clearance + 0.022
    over = np.interp(np.abs(x), _SHOULDER_X, _SHOULDER_Z) + cloth
    aside = smoothstep(0.6, 0.95, np.abs(np.sin(turn)))
    z = z + aside * np.maximum(over - z, 0)  # at the sides it lies on the shoulders
    front = chest_of(body, x, z) - cloth
    behind = back_of(body, x, z) + cloth
    tight_front, tight_back = HEAD_CENTRE[1] - 0.075, HEAD_CENTRE[1] + 0.082
    front = np.minimum(front, tight_front + (front - tight_front) * low)
    behind = np.maximum(behind, tight_back + (behind - tight_back) * low)
    face = (1 + np.cos(turn)) / 2
    y = behind + (front - behind) * face
    points = np.stack([x, y, z], -1).astype(np.float32)
    coords = np.stack([np.broadcast_to(turn * 0.12, z.shape), -points[..., 2], points[..., 2]], -1)
    label = Label.HOOD if hood else Label.HEADSCARF_END
    faces = grid_faces(10, COLUMNS)
    return _on_head(body, points.reshape(-1, 3), coords.reshape(-1, 3).astype(np.float32), faces, label)


def hat_mesh(hat: Hat, body: Body, shape: Shape, clearance: float = 0.01) -> Mesh:
    """Somebody's hat; `clearance`: metres from the skin of shoulders and chest to what is worn there.

    Its coords: metres around, metres from the edge upwards, height on the reference body; of a brim the second is 0 to
    1 outwards.
    """
    if hat.kind == "none":
        return empty()
    if hat.kind in COVERING:
        mesh = join(_wrap(hat, body, clearance))
    else:
        points, turn = _crown(hat, body)
        faces = grid_faces(len(points), COLUMNS)
        meshes = [_on_head(body, points.reshape(-1, 3), _rows(points, turn), faces, Label.HAT)]
        if hat.kind == "cap":
            meshes.append(_on_head(body, *_peak(hat, points[-2], turn), Label.BRIM))
        if hat.kind == "brimmed":
            meshes.append(_on_head(body, *_brim(hat, points[-2], turn), Label.BRIM))
        if hat.bobble:
            ball, sides = rounded_box(1.0)
            at = points[0, 0] + vector(0, 0, 0.7 * hat.bobble)
            meshes.append(_on_head(body, ball * np.float32(hat.bobble) + at, ball + vector(0, 9, 0), sides, Label.HAT))
        mesh = join(meshes)
    return _carried(mesh, body, shape)


def _carried(mesh: Mesh, body: Body, shape: Shape) -> Mesh:
    """From the reference body to a person's: with the head, and with the chest below the chin."""
    low = smoothstep(0.68, 0.59, mesh.vertices[:, 2])
    vertices = carried_over(mesh.vertices, body, shape, "head")
    lower = low > 0
    if lower.any():
        below = carried_over(mesh.vertices[lower], body, shape, "torso")
        vertices[lower] += (below - vertices[lower]) * low[lower, None]
    bones, weights = between_bones(body, "head", "spine01", low)
    return Mesh(vertices, bones, weights, mesh.coords, mesh.faces, mesh.labels)


HOOD = 0.055  # metres that a hood on the back stands off what is below


def hood_mesh(body: Body, shape: Shape, clearance: float = 0.02, size: float = 1.0) -> Mesh:
    """A hood that lies on the back: a roll of cloth around the neck that hangs down behind.

    `size`: 0.7 to 1.3. Labels HOOD; coords as those of hats.
    """
    turn = np.radians(np.linspace(-150, 150, 21))  # from the back
    rear = np.cos(turn / 2.2) ** 1.5
    x = 0.088 * np.sin(turn * 0.85)
    z = 0.600 - 0.045 * size * rear - 0.03 * np.clip(np.abs(turn) - 1.6, 0, 2)
    behind = back_of(body, x.astype(np.float32), z.astype(np.float32)) + clearance + 0.012
    ring = 0.0 + 0.075 * np.cos(turn * 0.85)
    y = np.where(np.abs(turn) < 0.9, np.maximum(behind, ring), ring - 0.01)
    path = np.stack([x, y, z], -1).astype(np.float32)
    thick = 0.014 + 0.020 * size * rear
    tall = 0.016 + 0.052 * size * rear**1.5
    taper = np.sqrt(np.clip(1 - (np.linspace(-1, 1, 21)) ** 8, 0, 1))
    points, coords, faces = tube(path, np.stack([thick * taper, tall * taper], -1).astype(np.float32), 10)
    coords = np.stack([points[:, 0], -points[:, 2], points[:, 2]], -1)
    vertices = carried_over(points, body, shape, "torso")
    spine = between_bones(body, "spine01", "neck01", np.full(len(points), 0.2, np.float32))
    return with_bones(vertices, coords, faces, Label.HOOD, spine)


def paint_hat(hat: Hat, labels: Ints, coords: Floats, colours: Floats) -> None:
    """Colour, in place, what is hat among pixels of `labels` (N,), `coords` (N, 4) and sRGB `colours` (N, 3)."""
    worn = np.flatnonzero(
        (labels == Label.HAT)
        | (labels == Label.HEADSCARF)
        | (labels == Label.HEADSCARF_END)
        | ((labels == Label.HOOD) & (hat.kind == "hood"))
    )
    if len(worn):
        around, up = coords[worn, 0], coords[worn, 1]
        colours[worn] = paint_cloth(hat.cloth, around, up)
        trimmed = up > 5  # a bobble
        if hat.band and hat.kind in ("beanie", "brimmed"):
            trimmed |= up < hat.band + 0.012
        colours[worn[trimmed]] = hat.trim
    brim = labels == Label.BRIM
    if brim.any():
        colours[brim] = hat.trim if hat.kind == "cap" else hat.cloth.base
