"""Bags: on the back, at the hip, in the hand, on wheels; carried in most images of their owner, not in all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from reid.sites.rendered.body.body import Body, Shape
from reid.sites.rendered.smooth import smoothstep
from reid.sites.rendered.wear import palette
from reid.sites.rendered.wear.attach import carried_over, empty, region, rounded_box, tube, vector
from reid.sites.rendered.wear.materials import Cloth, paint_cloth, sample_cloth
from reid.sites.rendered.wear.mesh import Floats, Ints, Label, Mesh, join, rigid

Kind = Literal["none", "backpack", "shoulder", "crossbody", "tote", "handbag", "shopping", "suitcase"]

# How common they are: men, women; each column sums to 1.
SHARES: dict[Kind, tuple[float, float]] = {
    "none": (0.46, 0.30),
    "backpack": (0.27, 0.15),
    "shoulder": (0.03, 0.22),
    "crossbody": (0.12, 0.11),
    "tote": (0.02, 0.07),
    "handbag": (0.03, 0.08),
    "shopping": (0.05, 0.04),
    "suitcase": (0.02, 0.03),
}
KINDS = tuple(SHARES)
HANGING = frozenset({"tote", "handbag", "shopping", "suitcase"})  # these hang from a hand, whatever the pose
# half-axes in metres: across (x), front to back (y), upwards (z); their scatter; how round the edges are, 0 a box
_SIZES: dict[Kind, tuple[tuple[float, float, float], float, tuple[float, float]]] = {
    "none": ((0.1, 0.1, 0.1), 0.0, (0.5, 0.5)),
    "backpack": ((0.145, 0.070, 0.215), 0.16, (0.35, 0.65)),
    "shoulder": ((0.050, 0.150, 0.115), 0.22, (0.3, 0.6)),
    "crossbody": ((0.042, 0.125, 0.095), 0.28, (0.25, 0.5)),
    "tote": ((0.045, 0.170, 0.165), 0.15, (0.3, 0.5)),
    "handbag": ((0.055, 0.135, 0.100), 0.20, (0.3, 0.55)),
    "shopping": ((0.060, 0.125, 0.160), 0.20, (0.35, 0.6)),
    "suitcase": ((0.110, 0.175, 0.265), 0.16, (0.2, 0.35)),
}
FABRIC: palette.Mix = {
    "black": 44, "charcoal": 8, "grey": 8, "navy": 12, "blue": 4, "red": 4, "olive": 4, "khaki": 3, "beige": 3,
    "burgundy": 2, "teal": 2, "purple": 1.5, "pink": 2, "yellow": 1, "orange": 1.5, "lime": 0.7, "white": 1.5,
}  # fmt: skip
LEATHER: palette.Mix = {
    "black": 46, "brown": 13, "camel": 9, "beige": 6, "burgundy": 5, "red": 5, "navy": 4, "grey": 4, "white": 4,
    "pink": 2.5, "blue": 1.5, "green": 1,
}  # fmt: skip
PLASTIC: palette.Mix = {
    "white": 40, "pale grey": 12, "red": 8, "yellow": 7, "orange": 5, "blue": 6, "green": 6, "brown": 8, "black": 5,
    "pink": 3,
}  # fmt: skip
_HIPS = 0.03  # height of the hips of the reference body
_SHOULDER_X = 0.095  # where straps lie on the shoulders of the reference body
_REACH = 1.2  # height of a suitcase's bar before it is fitted to the hand
_GRIP = 0.62  # how far from the wrist to the fingers' ends a handle lies


@dataclass(frozen=True)
class Bag:
    """What somebody carries; lengths in metres, sides 1 left and -1 right."""

    kind: Kind
    side: int
    half: tuple[float, float, float]  # half its size: across the person, front to back, upwards
    power: float  # how round its edges are: 0.2 nearly a box, 1 a ball
    sag: float  # how much wider it is below, 0..0.3
    cloth: Cloth
    trim: palette.Colour  # flap, pocket, handle
    strap: palette.Colour
    strap_width: float
    pockets: int  # on its outer side
    flap: float  # share of the height that a flap covers, 0: none
    bottom: float  # share of the height that is of the second colour below, 0: none
    drop: float  # metres from hand or hip to its top
    place: float  # in front of (-) or behind (+) the hip
    presence: float  # probability that it is there in an image


def sample_bag(rng: np.random.Generator, female: bool) -> Bag:
    """What somebody carries. Every call draws alike."""
    kind = KINDS[int(rng.choice(len(KINDS), p=[share[female] for share in SHARES.values()]))]
    fabric, leather = sample_cloth(rng, FABRIC, plain=0.8), sample_cloth(rng, LEATHER, plain=0.93)
    plastic, trim = sample_cloth(rng, PLASTIC, plain=0.8), palette.colour(rng, palette.TRIM)
    sizes, u = rng.uniform(-1, 1, 3), rng.random(11)
    if kind == "shopping":
        cloth = plastic
    elif kind in ("backpack", "suitcase") or (kind in ("crossbody", "tote") and u[0] < 0.55):
        cloth = fabric
    else:
        cloth = leather
    half, scatter, power = _SIZES[kind]
    across, deep, high = (float(size * (1 + scatter * by)) for size, by in zip(half, sizes, strict=True))
    flaps = {"backpack": 0.35, "crossbody": 0.6, "shoulder": 0.4, "handbag": 0.3}.get(kind, 0.0)
    second = trim if u[1] < 0.3 else palette.shade(cloth.base, 0.7 if palette.lightness(cloth.base) > 0.12 else 1.5)
    return Bag(
        kind=kind,
        side=1 if u[2] < 0.5 else -1,
        half=(across, deep, high),
        power=power[0] + (power[1] - power[0]) * u[3],
        sag=0.25 * u[4] if kind in ("backpack", "shoulder", "tote", "shopping") else 0.0,
        cloth=cloth,
        trim=second,
        strap=palette.shade(cloth.base, 0.8) if u[5] < 0.75 else trim,
        strap_width=(0.045 + 0.02 * u[6]) if kind == "backpack" else 0.014 + 0.026 * u[6],
        pockets=int(u[7] * 3) if kind in ("backpack", "suitcase") else int(u[7] < 0.3 and kind != "shopping"),
        flap=float(0.25 + 0.4 * u[8]) if u[8] < flaps else 0.0,
        bottom=0.2 + 0.15 * u[9] if u[9] < 0.15 else 0.0,
        drop={"shoulder": 0.02 - 0.16 * u[10], "crossbody": 0.10 * u[10] - 0.02}.get(kind, 0.06 + 0.08 * u[10]),
        place=float(0.10 * (u[6] - 0.4)),
        presence=float(0.6 + 0.4 * u[0]),
    )


def carried(rng: np.random.Generator, bag: Bag) -> bool:
    """Whether the bag is there in one image; `rng` is the image's. Draws once, whatever the bag."""
    drawn = rng.random()
    return bag.kind != "none" and bool(drawn < bag.presence)


def _box(half: tuple[float, float, float], power: float, sag: float) -> tuple[Floats, Floats, Ints]:
    """Points around the origin, their places in the box (-1..1), triangles."""
    local, faces = rounded_box(power)
    wider = 1 + np.float32(sag) * (0.3 - local[:, 2:])
    points = local * vector(*half)
    points[:, :2] *= wider
    return points, local, faces


def _part(points: Floats, coords: Floats, faces: Ints, label: Label, bone: int) -> Mesh:
    return rigid(points.astype(np.float32), coords.astype(np.float32), faces, label, bone)


def _farthest(body: Body, shape: Shape, name: str, outward: Floats, low: float, high: float) -> float:
    """How far a region of the person reaches along `outward` (3,) between two heights, near the middle for the back;
    where the region ends before them, at its end."""
    points = shape.vertices["body"][region(body, name).vertices]
    heights = points[:, 2]
    low, high = min(low, float(heights.max()) - 0.05), max(high, float(heights.min()) + 0.05)
    near = (heights > low) & (heights < high) & ((np.abs(points[:, 0]) < 0.1) | (outward[0] != 0))
    return float((points[near] * outward).sum(1).max())


def _backpack(bag: Bag, body: Body, shape: Shape, clearance: float) -> list[Mesh]:
    across, deep, high = bag.half
    points, local, faces = _box(bag.half, bag.power, bag.sag)
    points[:, 0] *= 1 - 0.12 * np.clip(local[:, 2], 0, 1)
    points[:, 1] -= (points[:, 1] + deep) * 0.3 * np.clip(local[:, 2], 0, 1)  # slimmer above, straight at the back
    shoulders = carried_over(vector(0, 0.05, 0.55)[None], body, shape, "torso")[0]
    z = float(shoulders[2]) + 0.02 - high - bag.drop * 0.3
    rest = _farthest(body, shape, "torso", vector(0, 1, 0), z - 0.4 * high, z + high)
    centre = vector(0, rest + clearance + 0.72 * deep, z)
    bone = body.bone("spine01")
    meshes = [_part(points + centre, local, faces, Label.BAG, bone)]
    for number in range(bag.pockets):
        tall = high * (0.42 if number == 0 else 0.3)
        size = (across * 0.72, deep * 0.42, tall)
        pocket, local, faces = _box(size, min(bag.power + 0.1, 0.7), 0.0)
        down = -0.42 * high if number == 0 else 0.38 * high
        meshes.append(_part(pocket + centre + vector(0, 0.92 * deep, down), local, faces, Label.BAG_PART, bone))
    return meshes


def _at_hip(bag: Bag, body: Body, shape: Shape, clearance: float) -> list[Mesh]:
    points, local, faces = _box(bag.half, bag.power, bag.sag)
    top = _HIPS + (0.13 if bag.kind == "shoulder" else 0.06) - bag.drop
    hip = carried_over(vector(bag.side * 0.18, -0.015, top - bag.half[2])[None], body, shape, "hips")[0]
    wide = _farthest(body, shape, "hips", vector(bag.side, 0, 0), hip[2] - bag.half[2], hip[2] + bag.half[2])
    centre = vector(bag.side * (wide + clearance + 0.75 * bag.half[0]), hip[1] + bag.place, hip[2])
    tilt = np.float32(0.12 * bag.side)  # it leans on the hip
    points[:, 0] -= tilt * points[:, 2] * 0.6
    bone = body.bone("spine05")
    meshes = [_part(points + centre, local, faces, Label.BAG, bone)]
    if bag.pockets:
        pocket, local, faces = _box((bag.half[0] * 0.4, bag.half[1] * 0.7, bag.half[2] * 0.5), bag.power, 0.0)
        aside = vector(bag.side * 0.85 * bag.half[0], 0, -0.25 * bag.half[2])
        meshes.append(_part(pocket + centre + aside, local, faces, Label.BAG_PART, bone))
    # the strap beside the hip, up to where it lies on the clothes and is painted (`paint_straps`)
    for end in (-1, 1):
        start = centre + vector(0, end * 0.8 * bag.half[1], 0.75 * bag.half[2])
        rise = 0.33 if bag.kind == "shoulder" else 0.20
        last = carried_over(vector(bag.side * 0.135, end * 0.07 - 0.03, rise)[None], body, shape, "torso")[0]
        path = start + (last - start) * np.linspace(0, 1, 5, dtype=np.float32)[:, None]
        widths = np.full((5, 2), bag.strap_width / 2, np.float32)
        widths[:, 1] = 0.004
        tubes, coords, sides = tube(path, widths, 6)
        meshes.append(_part(tubes, coords, sides, Label.STRAP, bone))
    return meshes


def _handle(span: float, height: float, thick: float) -> tuple[Floats, Floats, Ints]:
    """A bow along y, `span` wide at its feet and `height` high, feet at z = 0."""
    turn = np.linspace(0, np.pi, 9)
    path = np.stack([np.zeros(9), -0.5 * span * np.cos(turn), height * np.sin(turn) ** 0.7], -1).astype(np.float32)
    return tube(path, np.full((9, 2), thick, np.float32), 6)


def _in_hand(bag: Bag) -> list[tuple[Floats, Floats, Ints, Label]]:
    """A bag's parts below a hand, around it: the hand at the origin, x outwards, y to the back, z up."""
    across, deep, high = bag.half
    parts: list[tuple[Floats, Floats, Ints, Label]] = []
    points, local, faces = _box(bag.half, bag.power, bag.sag)
    if bag.kind == "shopping":  # gathered at the hand
        points[:, :2] *= 1 - 0.55 * smoothstep(0.3, 1.0, local[:, 2])[:, None]
    if bag.kind == "suitcase":  # behind the hand, on the ground: see `hanging`
        centre = vector(0.09, 0.20 + deep, 0.05 + high)
        parts.append((points + centre, local, faces, Label.BAG))
        for place in (-0.5, 0.5):
            wheel, round_, sides = _box((0.02, 0.03, 0.03), 0.9, 0.0)
            parts.append((wheel + centre + vector(0, place * deep * 1.4, -high - 0.02), round_, sides, Label.BAG_PART))
        bar = np.stack(
            [
                np.linspace(0.09, 0, 5),
                0.2 + 0.3 * deep - np.linspace(0, 1, 5) * (0.2 + 0.3 * deep),
                np.linspace(0.98 * _top(bag), _REACH, 5),
            ],
            -1,
        )
        parts.append((*tube(bar.astype(np.float32), np.full((5, 2), 0.012, np.float32), 5), Label.STRAP))
        return parts
    drop = bag.drop if bag.kind != "shopping" else 0.02
    centre = vector(across * 0.5 + 0.01, 0, -drop - high)
    parts.append((points + centre, local, faces, Label.BAG))
    if bag.kind != "shopping":
        for place in (-0.5, 0.5):
            bow, coords, sides = _handle(deep * 0.9, drop + 0.25 * high, 0.008)
            feet = centre + vector(place * across, 0, 0.75 * high)
            parts.append((bow + feet, coords, sides, Label.STRAP))
    if bag.pockets:
        pocket, local, faces = _box((across * 0.35, deep * 0.6, high * 0.45), bag.power, 0.0)
        parts.append((pocket + centre + vector(0.85 * across, 0, -0.2 * high), local, faces, Label.BAG_PART))
    return parts


def _top(bag: Bag) -> float:
    """Height of a suitcase that stands on the ground."""
    return 0.05 + 2 * bag.half[2]


def _hand(bag: Bag, body: Body, shape: Shape) -> tuple[int, Floats]:
    """The bone of the hand that holds the bag, and where it holds it at rest."""
    name = "L" if bag.side > 0 else "R"
    wrist = body.bone(f"wrist.{name}")
    fingers = shape.heads[body.bone(f"finger3-2.{name}")]
    return wrist, (shape.heads[wrist] + np.float32(_GRIP) * (fingers - shape.heads[wrist])).astype(np.float32)


def bag_mesh(bag: Bag, body: Body, shape: Shape, clearance: float = 0.02) -> Mesh:
    """Somebody's bag; nothing for the kind "none".

    `clearance`: metres from the skin of back and hips to what is worn over it. Labels BAG, BAG_PART (pockets) and
    STRAP; coords of a part: its place in the part's box, each -1..1 (STRAP: share of the turn, share of the length). A
    kind of `HANGING` is to be placed anew in every pose: `hanging`.
    """
    if bag.kind == "none":
        return empty()
    if bag.kind in HANGING:
        bone, grip = _hand(bag, body, shape)
        mirror = vector(bag.side, 1, 1)
        return join(
            [
                _part(points * mirror + grip, coords, faces if bag.side > 0 else faces[:, ::-1], label, bone)
                for points, coords, faces, label in _in_hand(bag)
            ]
        )
    if bag.kind == "backpack":
        return join(_backpack(bag, body, shape, clearance))
    return join(_at_hip(bag, body, shape, clearance))


def hanging(bag: Bag, body: Body, shape: Shape, matrices: Floats, ground: float) -> Floats:
    """Vertices (V, 3) of `bag_mesh` in a pose, for a kind of `HANGING`: upright below the hand.

    Args:
        bag: a bag in the hand.
        body: the reference body.
        shape: the person's, at rest.
        matrices: (B, 4, 4) of the pose's bones, from rest.
        ground: height of the ground in the pose; suitcases stand on it.
    """
    bone, grip = _hand(bag, body, shape)
    hand = matrices[bone, :3, :3] @ grip + matrices[bone, :3, 3]
    left = matrices[body.bone("root"), :2, 0]
    left = left / np.linalg.norm(left)
    # x outwards from the person, y to the back
    frame = np.array([[left[0], -left[1], 0], [left[1], left[0], 0], [0, 0, 1]], np.float32)
    local = np.concatenate([points * vector(bag.side, 1, 1) for points, _, _, _ in _in_hand(bag)])
    placed = local @ frame.T + hand
    if bag.kind == "suitcase":
        top = _top(bag)
        reach = max(hand[2] - ground - top, 0.02) / (_REACH - top)  # the bar is drawn out as far as the hand is
        placed[:, 2] = ground + np.where(local[:, 2] > top, top + (local[:, 2] - top) * reach, local[:, 2])
    return placed.astype(np.float32)


def paint_bag(bag: Bag, labels: Ints, coords: Floats, colours: Floats) -> None:
    """Colour, in place, what is bag among pixels of `labels` (N,), `coords` (N, 4) and sRGB `colours` (N, 3)."""
    chosen = np.flatnonzero(labels == Label.BAG)
    if len(chosen):
        x, y, z = coords[chosen, 0], coords[chosen, 1], coords[chosen, 2]
        along_side = bag.half[1] if bag.kind != "backpack" else bag.half[0]
        painted = paint_cloth(bag.cloth, (x + y) * np.float32(along_side), z * np.float32(bag.half[2]))
        if bag.flap:
            painted[z > 1 - 2 * bag.flap] = bag.trim
            painted[np.abs(z - 1 + 2 * bag.flap) < 0.05] *= np.float32(0.55)  # the shadow below its edge
        if bag.bottom:
            painted[z < -1 + 2 * bag.bottom] = bag.trim
        colours[chosen] = painted
    part = np.flatnonzero(labels == Label.BAG_PART)
    if len(part):
        seam = np.abs(coords[part, 2] - 0.55) < 0.09
        colours[part] = bag.trim if bag.kind != "suitcase" else bag.cloth.base * np.float32(0.6)
        colours[part[seam]] *= np.float32(0.55)
    colours[labels == Label.STRAP] = bag.strap


def paint_straps(bag: Bag, coords: Floats, colours: Floats) -> None:
    """Colour, in place, where the bag's straps lie on the clothes of the torso.

    `coords` (N, 4) are places on the reference body; `colours` (N, 3) sRGB. Nothing for bags without straps.
    """
    x, y, z = coords[:, 0], coords[:, 1], coords[:, 2]
    half = bag.strap_width / 2
    if bag.kind == "backpack":
        # from the shoulders down to below the arms, farther apart below; the bag hides what is behind
        away = _SHOULDER_X + 0.035 * smoothstep(0.5, 0.3, z)
        on = (np.abs(np.abs(x) - away) < half) & (z > 0.26) & (y < 0.05)
        on |= (np.abs(z - 0.27) < half * 0.7) & (np.abs(x) > 0.11) & (y > -0.06)
    elif bag.kind == "shoulder":
        away = 0.125 + 0.012 * smoothstep(0.5, 0.3, z)
        on = (np.abs(bag.side * x - away) < half) & (z > 0.30)
    elif bag.kind == "crossbody":
        # from the other shoulder to the hip
        on = np.abs(bag.side * x - (0.46 - z) * 0.52 + 0.02) < half * 1.12
        on &= (z > 0.05) & (z < 0.64)
    else:
        return
    colours[on] = bag.strap
