"""Shoes: they take the place of the body's feet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from reid.sites.rendered.body.body import Body, Shape
from reid.sites.rendered.smooth import smoothstep
from reid.sites.rendered.wear import palette
from reid.sites.rendered.wear.attach import (
    ANKLES,
    SOLES,
    carried_over,
    followed,
    grid_faces,
    vector,
    with_bones,
)
from reid.sites.rendered.wear.mesh import Floats, Ints, Label, Mesh, join

Kind = Literal["trainers", "leather", "boots", "heels", "sandals"]

# How common they are: men, women; each column sums to 1.
SHARES: dict[Kind, tuple[float, float]] = {
    "trainers": (0.58, 0.46),
    "leather": (0.29, 0.17),
    "boots": (0.10, 0.20),
    "heels": (0.0, 0.11),
    "sandals": (0.03, 0.06),
}
KINDS = tuple(SHARES)

# The left foot of the reference body, from heel to toes: y, x of its middle, half its width, height of its upper side.
_FOOT = np.array(
    [
        [0.050, 0.191, 0.018, -0.762],
        [0.036, 0.191, 0.027, -0.745],
        [0.010, 0.191, 0.032, -0.735],
        [-0.025, 0.193, 0.036, -0.733],
        [-0.055, 0.196, 0.039, -0.738],
        [-0.085, 0.196, 0.043, -0.748],
        [-0.115, 0.195, 0.047, -0.763],
        [-0.145, 0.192, 0.047, -0.774],
        [-0.170, 0.192, 0.045, -0.782],
        [-0.192, 0.185, 0.038, -0.788],
        [-0.208, 0.178, 0.027, -0.794],
        [-0.216, 0.176, 0.014, -0.800],
    ]
)
_BALL, _HEEL = -0.12, 0.02  # between these a raised foot slopes
# The left leg from the ankle upwards: height, x and y of its middle, half its width across and along.
_LEG = np.array(
    [
        [-0.775, 0.190, 0.010, 0.033, 0.040],
        [-0.750, 0.189, 0.004, 0.033, 0.044],
        [-0.700, 0.188, -0.008, 0.030, 0.046],
        [-0.650, 0.184, -0.004, 0.032, 0.043],
        [-0.600, 0.180, -0.004, 0.039, 0.046],
        [-0.550, 0.176, -0.004, 0.048, 0.052],
        [-0.500, 0.171, -0.004, 0.055, 0.058],
        [-0.450, 0.164, -0.007, 0.058, 0.061],
        [-0.400, 0.158, -0.012, 0.057, 0.063],
        [-0.340, 0.150, -0.028, 0.060, 0.064],
    ]
)
_RING = 12  # points around a cross-section
TRAINERS: palette.Mix = {
    "white": 30, "black": 27, "grey": 9, "charcoal": 5, "navy": 7, "red": 4, "blue": 4, "beige": 3, "pink": 2,
    "lime": 1.5, "green": 1.5, "orange": 2, "yellow": 1, "sky": 1.5, "burgundy": 1, "cream": 2,
}  # fmt: skip
LEATHER: palette.Mix = {
    "black": 60, "brown": 20, "camel": 4, "burgundy": 3, "navy": 2, "charcoal": 4, "beige": 3, "red": 1.5, "white": 2,
}  # fmt: skip


@dataclass(frozen=True)
class Shoes:
    """What somebody has on the feet; lengths in metres on the reference body."""

    kind: Kind
    colour: palette.Colour
    sole: palette.Colour
    trim: palette.Colour  # tongue and stripes of trainers, straps
    thick: float  # of the sole
    heel: float  # how much higher the heel stands than the ball
    top: float  # height where the shaft ends
    width: float  # of shoe beside and above the foot
    long: float  # beyond the toes
    pointed: float  # 0 round, 1 pointed
    block: float  # half the width of the heel
    open: float  # share of the foot's length that the upper leaves bare, 0: none
    wide: float  # of the shaft, beyond the leg
    striped: bool


def sample_shoes(rng: np.random.Generator, female: bool) -> Shoes:
    """What somebody has on the feet. Every call draws alike."""
    kind = KINDS[int(rng.choice(len(KINDS), p=[share[female] for share in SHARES.values()]))]
    bright, leather = palette.colour(rng, TRAINERS), palette.colour(rng, LEATHER)
    trim, dark = palette.colour(rng, palette.TRIM), palette.tone(rng, "black")
    u = rng.random(9)
    trainers = kind == "trainers"
    colour = bright if trainers or (kind == "heels" and u[0] < 0.3) else leather
    white = vector(0.92, 0.92, 0.9) * np.float32(0.9 + 0.1 * u[1])
    sole = white if u[2] < (0.68 if trainers else 0.04) else dark if u[2] < 0.9 else palette.shade(colour, 0.6)
    heel = 0.0
    if kind == "heels":
        heel = 0.035 + 0.055 * u[3]
    elif kind == "boots" and female:
        heel = 0.05 * u[3]
    shaft = -0.70 + 0.33 * u[4] ** 1.5 if female else -0.70 + 0.13 * u[4]
    ballerinas = female and kind == "leather" and u[5] < 0.45
    bare = 0.5 if ballerinas else {"heels": 0.5, "sandals": 1.0}.get(kind, 0.0)
    return Shoes(
        kind=kind,
        colour=colour,
        sole=sole,
        trim=trim if u[5] < 0.6 else palette.shade(colour, 0.7),
        thick=0.014 + 0.022 * u[6] if trainers or kind == "boots" else 0.008 + 0.012 * u[6],
        heel=heel,
        top=shaft if kind == "boots" else (-0.715 if u[7] < 0.2 else -0.742) if trainers else -0.748,
        width=(0.007 + 0.006 * u[8]) if trainers or kind == "boots" else 0.004 + 0.003 * u[8],
        long=0.012 + 0.012 * u[7] + (0.01 if kind == "leather" else 0.0),
        pointed=0.7 * u[3] if kind in ("heels", "leather", "boots") else 0.1,
        block=0.006 + 0.022 * u[4] if kind == "heels" else 0.03,
        open=bare,
        wide=0.006 + 0.012 * u[6] if kind == "boots" else 0.003,
        striped=bool(u[0] < 0.45),
    )


def hidden_feet(body: Body, shoes: Shoes) -> NDArray[np.bool_]:
    """Which triangles (T,) of the part "body" shoes take the place of, or cover."""
    part = body.parts["body"]
    corners = part.reference[part.faces]
    cover = -0.765 if shoes.open else max(ANKLES - 0.012, shoes.top - 0.02)
    instep = (corners[..., 1] < -0.045) & (corners[..., 2] < -0.72)
    return np.asarray(((corners[..., 2] < cover) | instep).all(1), np.bool_)


def _raised(shoes: Shoes, y: Floats, z: Floats) -> Floats:
    """Heights once the foot slopes down to the ball on high heels: the ankle stays where it is."""
    slope = smoothstep(_HEEL, _BALL, y)
    return z - np.float32(shoes.heel) * slope * smoothstep(ANKLES + 0.01, ANKLES - 0.03, z)


def _upper(shoes: Shoes) -> tuple[Floats, Floats, Ints, Ints]:
    """The shoe below the ankle, left: points, coordinates, triangles, labels."""
    stations = _FOOT.copy()
    toes = np.clip((-stations[:, 0] - 0.12) / 0.096, 0, 1)
    stations[:, 0] -= shoes.long * toes
    stations[0, 0] += shoes.width
    stations[:, 2] = stations[:, 2] * (1 - 0.35 * shoes.pointed * toes**1.5) + shoes.width
    stations[:, 3] += shoes.width + 0.004 * toes
    y, middle, half, top = stations.T[..., None]
    # a cross-section: flat below, upright sides, round above
    across = np.array([0, 0.6, 0.98, 1.04, 1.0, 0.8, 0.4, -0.4, -0.8, -1.0, -1.04, -0.98, -0.6])
    up = np.array([0, 0, 0, 0.22, 0.5, 0.86, 1.0, 1.0, 0.86, 0.5, 0.22, 0, 0])
    rise = np.maximum(top - SOLES, 0.012)
    x = middle + half * across
    z = np.where(np.abs(up - 0.22) < 0.01, SOLES + 0.005, SOLES + rise * up)
    z = _raised(shoes, np.broadcast_to(y, z.shape).astype(np.float32), z.astype(np.float32))
    z = np.where(up < 0.1, z - shoes.thick, z)
    points = np.stack([x, np.broadcast_to(y, x.shape), z], -1)
    ends = points[[0, -1]].mean(1, keepdims=True) * np.ones((1, len(across), 1))  # closed at heel and toes
    ends[..., 2] = points[[0, -1]].min(1)[:, 2:] + 0.012 + shoes.thick * 0.5
    points = np.concatenate([ends[:1], points, ends[1:]])
    share = np.concatenate([[0.0], np.linspace(0, 1, len(stations)), [1.0]])
    share = np.broadcast_to(share[:, None], points.shape[:2])
    coords = np.stack([share, np.broadcast_to(across, share.shape), np.broadcast_to(up, share.shape)], -1)
    faces = grid_faces(len(points), len(across), True)
    ring = np.arange(len(across))
    is_sole = (ring <= 2) | (ring >= 10)
    labels = np.where(np.repeat(np.tile(is_sole, len(points) - 1), 2), int(Label.SOLE), int(Label.SHOE)).astype(
        np.int32
    )
    return points.reshape(-1, 3).astype(np.float32), coords.reshape(-1, 3).astype(np.float32), faces, labels


def _shaft(shoes: Shoes) -> tuple[Floats, Floats, Ints]:
    """What surrounds ankle and calf, left: points, coordinates, triangles."""
    rows = max(4, round((shoes.top + 0.785) / 0.03))
    height = np.linspace(shoes.top, -0.785, rows)
    x, y, across, along = (np.interp(height, _LEG[:, 0], _LEG[:, k])[:, None] for k in range(1, 5))
    wide = shoes.wide * np.linspace(1.2, 0.8, rows)[:, None]
    angles = np.linspace(0, 2 * np.pi, _RING, endpoint=False)
    px, py = x + (across + wide) * np.cos(angles), y + (along + wide) * np.sin(angles)
    pz = np.broadcast_to(height[:, None], px.shape)
    points = np.stack([px, py, pz], -1)
    rim = points[:1] * 1.0  # turned in
    rim[..., 0] = x[0] + 0.7 * across[0] * np.cos(angles)
    rim[..., 1] = y[0] + 0.7 * along[0] * np.sin(angles)
    rim[..., 2] -= 0.008
    points = np.concatenate([rim, points])
    share = np.full(points.shape[:2], 0.2)
    coords = np.stack([share, np.broadcast_to(np.cos(angles), share.shape), 1 + points[..., 2] - SOLES], -1)
    faces = grid_faces(rows + 1, _RING, True)
    return points.reshape(-1, 3).astype(np.float32), coords.reshape(-1, 3).astype(np.float32), faces


def _heel(shoes: Shoes) -> tuple[Floats, Floats, Ints]:
    """The block below the heel, left."""
    z = np.array([SOLES + 0.004, SOLES - shoes.thick - shoes.heel, SOLES - shoes.thick - shoes.heel])
    half = np.array([0.028, shoes.block, 0.0])[:, None]
    angles = np.linspace(0, 2 * np.pi, 8, endpoint=False)
    centre = np.array([0.020, 0.032, 0.032])[:, None]
    x, y = 0.191 + half * np.cos(angles), centre + half * np.sin(angles)
    points = np.stack([x, y, np.broadcast_to(z[:, None], x.shape)], -1).reshape(-1, 3).astype(np.float32)
    return points, np.zeros_like(points), grid_faces(3, 8, True)


def shoes_mesh(shoes: Shoes, body: Body, shape: Shape) -> Mesh:
    """Both shoes, for a body without its feet (`hidden_feet`).

    Labels SHOE and SOLE; coords of both: share of the length from the heel (0) to the toes (1), place across (-1 to the
    person's right, 1), height above the sole as a share of the shoe's (above 1: 1 + metres above the sole, the shaft).
    """
    points, coords, faces, labels = _upper(shoes)
    parts = [(points, coords, faces, labels)]
    if not shoes.open:
        points, coords, faces = _shaft(shoes)
        parts.append((points, coords, faces, np.full(len(faces), int(Label.SHOE), np.int32)))
    if shoes.heel > 0.02:
        points, coords, faces = _heel(shoes)
        parts.append((points, coords, faces, np.full(len(faces), int(Label.SOLE), np.int32)))
    meshes = []
    for side, mirror in (("L", 1), ("R", -1)):
        for points, coords, faces, labels in parts:
            there = points * vector(mirror, 1, 1)
            vertices = carried_over(there, body, shape, f"leg.{side}")
            own = coords * vector(1, mirror, 1)
            bones = followed(there, body, f"leg.{side}")
            meshes.append(with_bones(vertices, own, faces if mirror > 0 else faces[:, ::-1], labels, bones))
    return join(meshes)


def paint_shoes(shoes: Shoes, labels: Ints, coords: Floats, colours: Floats) -> None:
    """Colour, in place, what is shoe among pixels of `labels` (N,), `coords` (N, 4) and sRGB `colours` (N, 3).

    Where a shoe is open the pixels of SHOE keep their colour: give them that of skin, socks or tights before.
    """
    upper = np.flatnonzero(labels == Label.SHOE)
    if len(upper):
        along, across, up = coords[upper, 0], np.abs(coords[upper, 1]), coords[upper, 2]
        painted = colours[upper].copy()
        worn = np.ones(len(upper), np.bool_)
        if shoes.kind == "sandals":
            straps = (
                (np.abs(along - 0.78) < 0.07)
                | (np.abs(along - 0.42) < 0.05)
                | ((along < 0.25) & (np.abs(up - 0.75) < 0.13))
            )
            worn = straps & (up < 1.05)
        elif shoes.open:
            worn = (up < 1.0) & ((along > 0.72) | (up < 0.55 + 0.25 * (along < 0.12)))
        painted[worn] = shoes.colour
        if shoes.kind == "trainers":
            laces = (along > 0.36) & (along < 0.74) & (across < 0.42) & (up > 0.9) & (up <= 1.0)
            painted[laces] = shoes.trim
            if shoes.striped:
                mark = (np.abs(along - 0.5 - 0.25 * (up - 0.5)) < 0.06) & (across > 0.6) & (up < 0.9)
                painted[mark] = shoes.trim
        colours[upper] = painted
    colours[labels == Label.SOLE] = shoes.sole
