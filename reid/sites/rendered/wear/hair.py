"""Hair: a shell over the skull that falls where it is long, and what is tied of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from reid.sites.rendered.body.body import Body, Shape
from reid.sites.rendered.smooth import smoothstep
from reid.sites.rendered.wear.attach import (
    HAIRLINE,
    HEAD_CENTRE,
    NAPE,
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
from reid.sites.rendered.wear.mesh import Floats, Ints, Label, Mesh, join
from reid.sites.rendered.wear.palette import Colour
from reid.sites.rendered.wear.skull import COLUMNS, ROWS, TURNS, on_skull, over_skull

Style = Literal["bald", "buzz", "short", "side_part", "medium", "bob", "long", "tail", "bun", "braids", "afro"]

# How common the styles are, as seen on streets: men, women.
SHARES: dict[Style, tuple[float, float]] = {
    "bald": (0.05, 0.0),
    "buzz": (0.12, 0.005),
    "short": (0.46, 0.06),
    "side_part": (0.22, 0.02),
    "medium": (0.09, 0.11),
    "bob": (0.01, 0.16),
    "long": (0.015, 0.36),
    "tail": (0.01, 0.18),
    "bun": (0.005, 0.06),
    "braids": (0.005, 0.025),
    "afro": (0.015, 0.02),
}
STYLES = tuple(SHARES)
FALLING = frozenset({"bob", "long", "medium"})

# Heights at which hair ends, at these angles from the front (degrees): z of the reference body.
ANGLES = np.radians([0, 25, 45, 60, 72, 82, 95, 112, 125, 150, 180])
CUT = np.array([HAIRLINE, 0.817, 0.808, 0.783, 0.746, 0.7585, 0.7775, 0.766, 0.727, 0.7015, NAPE])
SWEPT = np.array([HAIRLINE, 0.816, 0.807, 0.787, 0.7585, 0.765, 0.771, 0.744, 0.716, 0.7015, NAPE])
SHELF = 0.754  # below this height long hair no longer lies on the skull, it falls
IN_AIR = 10  # rows of hair that falls
FACE = np.radians(58)  # hair that falls begins this far from the front
FRONT = np.radians(100)  # hair farther forward than this may fall before the shoulders


@dataclass(frozen=True)
class Hair:
    """How somebody's hair is cut and coloured; lengths in metres on the reference body, colours sRGB 0..1."""

    style: Style
    colour: Colour
    tips: Colour  # colour of the ends of long hair
    top: float  # how thick it is above
    sides: float  # and at the sides
    receding: float  # how much higher the hairline is at the temples
    fringe: float  # how far it falls on the forehead
    tip: float  # height where falling hair and tails end
    spread: float  # half the width on the back
    before: bool  # front strands fall before the shoulders
    parting: float  # radians from the front
    rough: float  # how uneven the outline is, as a share of the thickness
    tied: float  # height where a tail or bun is tied
    phases: tuple[float, ...]  # of its unevenness


@dataclass(frozen=True)
class Worn:
    """What is worn where hair falls."""

    clearance: float  # metres from the skin of back and chest to the cloth's outer side
    hood: float  # how far a hood that lies on the back stands off that, 0: none

    def bulge(self, height: Floats) -> Floats:
        """Metres behind the cloth, at heights of the reference body."""
        return np.float32(self.hood) * smoothstep(0.47, 0.54, height) * smoothstep(0.69, 0.62, height)


def _natural(rng: np.random.Generator, age: float, skin: float) -> Colour:
    kind = rng.random()
    shade = rng.random()
    tint = rng.normal(0, 0.006, 3)
    grey = rng.random()
    dyed = rng.random(4)
    if skin > 0.5:  # fair hair comes with fair skin
        kind *= 0.82
    if grey < np.clip((age - 40) / 45, 0, 0.85):
        base = np.full(3, 0.28 + 0.55 * shade * np.clip((age - 25) / 45, 0.2, 1)) * (1.0, 0.99, 0.97)
    elif dyed[0] < 0.02:
        base = 0.15 + 0.65 * dyed[1:]
    elif kind < 0.55:
        base = np.array([0.055, 0.05, 0.05]) * (0.6 + 1.1 * shade)
    elif kind < 0.80:
        base = np.array([0.15, 0.105, 0.08]) * (0.7 + 0.7 * shade)
    elif kind < 0.90:
        base = np.array([0.33, 0.22, 0.14]) * (0.75 + 0.5 * shade)
    elif kind < 0.97:
        base = np.array([0.68, 0.53, 0.34]) * (0.75 + 0.4 * shade)
    else:
        base = np.array([0.45, 0.19, 0.09]) * (0.8 + 0.4 * shade)
    return np.clip(base + tint, 0.015, 0.95).astype(np.float32)


def sample_hair(rng: np.random.Generator, female: bool, age: float, skin: float) -> Hair:
    """Somebody's hair; `age` in years, `skin` 0 the palest to 1 the darkest. Every call draws alike."""
    shares = np.array([share[female] for share in SHARES.values()])
    if not female:
        shares[STYLES.index("bald")] += max(0.0, age - 40) * 0.006
    if age > 50:  # older people cut their hair
        kept = float(np.clip((80 - age) / 30, 0.15, 1))
        for name in ("long", "tail", "braids"):
            shares[STYLES.index("short")] += (1 - kept) * shares[STYLES.index(name)]
            shares[STYLES.index(name)] *= kept
    style = STYLES[int(rng.choice(len(STYLES), p=shares / shares.sum()))]
    colour = _natural(rng, age, skin)
    lighter, length, volume, part, place = rng.random(), rng.random(), rng.random(), rng.random(), rng.random()
    receding, fringed, before, spread, rough = rng.random(5)
    phases = tuple(float(value) for value in rng.random(8))
    tip = {"bob": 0.628 + 0.05 * length, "medium": 0.56 + 0.06 * length, "long": 0.52 - 0.28 * length}.get(
        style, 0.60 - 0.30 * length
    )
    if style == "medium" and not female:
        tip = 0.635 + 0.055 * length
    top = {"bald": 0.0, "buzz": 0.006, "afro": 0.045 + 0.055 * volume, "tail": 0.008 + 0.008 * volume}.get(
        style, 0.014 + 0.026 * volume
    )
    sides = {"short": 0.004 + 0.012 * place, "side_part": 0.005 + 0.012 * place, "medium": 0.012 + 0.012 * place}
    blend = 0.35 + 0.4 * lighter if lighter > 0.85 and female else 0.0
    tips = colour + (1 - colour) * vector(0.55, 0.4, 0.25) * np.float32(blend)
    return Hair(
        style=style,
        colour=colour,
        tips=tips,
        top=top,
        sides=sides.get(style, {"bob": 0.014, "long": 0.012}.get(style, 0.9 * top)),
        receding=(0.0 if female else 0.05 * float(np.clip((age - 25) / 40, 0, 1)) * receding) + 0.004 * receding,
        fringe=0.022 + 0.02 * fringed if fringed > (0.6 if female else 0.55) and style not in ("buzz", "tail") else 0.0,
        tip=tip,
        spread=0.085 + 0.045 * spread,
        before=bool(before < 0.35),
        parting=float(np.radians((part - 0.5) * 90)) if style == "side_part" else float(np.radians((part - 0.5) * 30)),
        rough=0.08 + 0.22 * rough,
        tied=0.715 + 0.125 * place if style == "bun" else 0.72 + 0.085 * place,
        phases=phases,
    )


def _uneven(hair: Hair, turn: Floats, down: Floats) -> Floats:
    """-1..1 over the shell: a few waves around the head and along the strands."""
    a, b, c, d = (2 * np.pi * phase for phase in hair.phases[:4])
    waves = np.sin(3 * turn + a + 5 * down) + np.sin(7 * turn + b - 9 * down) + np.sin(13 * turn + c + 6 * down + d)
    return (waves / 3).astype(np.float32)


def _ends(hair: Hair, turn: Floats) -> Floats:
    """Height (COLUMNS,) at which the hair ends, at angles from the front (negative: to the right)."""
    away = np.abs(turn)
    table = SWEPT if hair.style in ("tail", "bun", "braids", *FALLING) else CUT
    ends = np.interp(away, ANGLES, table)
    ends -= hair.fringe * smoothstep(np.radians(58), np.radians(38), away)
    ends += hair.receding * np.exp(-(((away - np.radians(38)) / np.radians(16)) ** 2))
    if hair.style in FALLING:
        falls = smoothstep(float(FACE), float(np.radians(80)), away)
        ends = ends + (hair.tip - ends) * falls + 0.012 * falls * np.sin(17 * turn + 6.3 * hair.phases[4])
    return ends.astype(np.float32)


def _fallen(hair: Hair, body: Body, edge: Floats, ends: Floats, turn: Floats, worn: Worn) -> Floats:
    """Points (IN_AIR, COLUMNS, 3) below the edge of the shell (COLUMNS, 3): down over neck, back or chest to `ends`."""
    share = (np.arange(1, IN_AIR + 1) / IN_AIR)[:, None].astype(np.float32)
    height = edge[:, 2] + (np.minimum(ends, edge[:, 2]) - edge[:, 2]) * share
    away, side = np.abs(turn), np.sign(turn)
    low = smoothstep(0.688, 0.58, height)
    straight = edge[None, :, :2] * (1 - 0.06 * smoothstep(0.754, 0.66, height)[..., None])
    across = np.clip((np.pi - away) / (np.pi - FACE), 0, 1) ** 0.8
    narrow = 1 - 0.25 * smoothstep(0.56, 0.33, height)
    behind_x = side * across * hair.spread * narrow
    wave = 0.006 * np.sin(40 * height + 5 * turn + 6.3 * hair.phases[5])
    lift = worn.clearance + 0.014 + 0.010 * (1 - across**2) + wave
    behind_y = back_of(body, behind_x, height) + lift
    before_x = side * np.interp(away, [FACE, FRONT], [0.055, 0.115]) * narrow
    before_y = chest_of(body, before_x, height) - lift
    front = (away < FRONT) & hair.before
    x, y = np.where(front, before_x, behind_x), np.where(front, before_y, behind_y)
    x, y = (fallen + (to - fallen) * low for fallen, to in ((straight[..., 0], x), (straight[..., 1], y)))
    y = y + worn.bulge(height) * smoothstep(np.radians(75), np.radians(110), away) * ~front
    return np.stack([x, y, height], -1).astype(np.float32)


def _shell(hair: Hair, body: Body, worn: Worn, flat_above: float | None) -> tuple[Floats, Floats, Ints, Ints]:
    """Points, coordinates, triangles and labels of the hair that grows over the skull."""
    turn = TURNS
    ends = _ends(hair, turn)
    points, outward = over_skull(body, np.maximum(ends, SHELF) if hair.style in FALLING else ends)
    down = np.broadcast_to(np.linspace(0, 1, ROWS)[:, None], points.shape[:2]).astype(np.float32)
    thick = hair.sides + (hair.top - hair.sides) * smoothstep(0.7775, 0.8345, points[..., 2])
    off_pole = smoothstep(0.0, 0.35, down)  # all columns meet at the crown
    if hair.style == "side_part":
        thick *= 1 + 0.45 * np.sin(turn - hair.parting) * smoothstep(0.754, 0.82, points[..., 2]) * off_pole
    groove = np.exp(-(((turn - hair.parting) / 0.12) ** 2)) * (np.abs(turn) < np.pi / 2)
    thick *= (
        1
        + hair.rough * off_pole * _uneven(hair, turn, down)
        - 0.35 * groove * (hair.style in ("long", "bob", "side_part"))
    )
    falling = hair.style in FALLING
    falls = smoothstep(float(FACE), float(np.radians(75)), np.abs(turn)) if falling else np.zeros_like(turn)
    rim = np.sqrt(np.clip(1 - (np.clip(down - 0.72, 0, 1) / 0.28) ** 2, 0, 1))
    thick *= np.maximum(rim, falls)
    if flat_above is not None:
        thick = np.minimum(thick, 0.004 + 0.03 * smoothstep(flat_above, flat_above - 0.03, points[..., 2]))
    thick = thick - 0.004 * (1 - np.maximum(rim, falls))
    points = points + outward * thick[..., None]
    if falling:
        fallen = _fallen(hair, body, points[-1], ends, turn, worn)
        points = np.concatenate([points, fallen])
    rows = len(points)
    depth = np.concatenate([np.zeros((1, COLUMNS)), np.linalg.norm(np.diff(points, axis=0), axis=-1).cumsum(0)])
    coords = np.stack([np.broadcast_to(turn, (rows, COLUMNS)), depth, points[..., 2]], -1)
    labels = np.full((rows - 1, (COLUMNS - 1) * 2), int(Label.HAIR), np.int32)
    labels[ROWS - 1 :] = int(Label.HAIR_SHEET)
    return (
        points.reshape(-1, 3).astype(np.float32),
        coords.reshape(-1, 3).astype(np.float32),
        grid_faces(rows, COLUMNS),
        labels.ravel(),
    )


def _strand(hair: Hair, body: Body, start: Floats, thick: float, worn: Worn, bumps: float, behind: bool) -> Mesh:
    """A tail or braid from `start` (3,) on the reference skull down to the hair's tip; not yet on a person."""
    rise = [-0.004, 0.008, 0.010, 0.0] if behind else [0.0, 0.006, 0.004, -0.01]
    height = np.concatenate([start[2] + np.array(rise), np.linspace(start[2] - 0.02, hair.tip, 10)])
    share = np.linspace(0, 1, len(height))
    x = start[0] * (1 + 0.25 * share)
    off = worn.clearance + thick
    rest = back_of(body, x, height) + worn.bulge(height) + off if behind else chest_of(body, x, height) - off
    away = np.interp(
        share, [0, 0.08, 0.16, 0.24, 0.5, 1], [-0.012, 0.008, 0.020, 0.026, 0.018, 0.0]
    )  # a bow, then down
    free = start[1] + (away if behind else 0.0)
    low = smoothstep(start[2] - 0.02, min(0.6, start[2] - 0.08), height)
    y = np.where((rest > free) & (share > 0.24), rest, free) if behind else free + (rest - free) * low
    width = thick * np.clip(np.minimum(0.55 + 3 * share, (1.02 - share) * 3.2), 0, 1)
    width = width * (1 + bumps * np.sin(share * len(height) * np.pi * 0.9))
    width[[0, -1]] = 0
    path = np.stack([x, y, height], -1).astype(np.float32)
    points, coords, faces = tube(path, np.stack([width * 1.15, width * 0.9], -1).astype(np.float32))
    coords = np.stack([coords[:, 0] * 4, coords[:, 1] * (start[2] - hair.tip), points[:, 2]], -1)
    none = between_bones(body, "head", "spine01", np.zeros(len(points), np.float32))
    return with_bones(points, coords.astype(np.float32), faces, Label.HAIR, none)


def _tied(hair: Hair, body: Body, worn: Worn) -> list[Mesh]:
    """Tails, buns and braids on the reference body."""
    slope = np.arctan2(hair.tied - HEAD_CENTRE[2], 0.095)
    outward = np.array([0, np.cos(slope), np.sin(slope)], np.float32)
    knot = on_skull(body, outward)
    if hair.style == "tail":
        return [_strand(hair, body, knot, 0.020 + 0.5 * hair.top, worn, 0.0, True)]
    if hair.style == "bun":
        size = 0.026 + 0.9 * hair.top
        points, faces = rounded_box(0.9)
        none = between_bones(body, "head", "spine01", np.zeros(len(points), np.float32))
        coords = np.stack([4 * points[:, 0], points[:, 2], points[:, 1]], -1)
        return [
            with_bones(
                points * vector(size, size * 0.85, size) + knot + outward * size * 0.7, coords, faces, Label.HAIR, none
            )
        ]
    if hair.phases[6] < 0.4:
        return [_strand(hair, body, knot - vector(0, 0.01, 0.02), 0.024, worn, 0.2, True)]
    sides = (vector(side * 0.074, -0.028, 0.69) for side in (-1, 1))
    return [_strand(hair, body, start, 0.019, worn, 0.25, hair.phases[7] < 0.5) for start in sides]


def hair_mesh(hair: Hair, body: Body, shape: Shape, worn: Worn, flat_above: float | None = None) -> Mesh:
    """Somebody's hair.

    Args:
        hair: what hair it is.
        body: the reference body.
        shape: the person's.
        worn: what long hair lies on.
        flat_above: height on the reference head above which a hat presses the hair down.

    Returns:
        Triangles with the labels HAIR and HAIR_SHEET; coords: angle from the front (radians), metres from the crown
        along the hair, height on the reference body.
    """
    if hair.style == "bald":
        return empty()
    points, coords, faces, labels = _shell(hair, body, worn, flat_above)
    none = between_bones(body, "head", "spine01", np.zeros(len(points), np.float32))
    meshes = [with_bones(points, coords, faces, labels, none)]
    if hair.style in ("tail", "bun", "braids"):
        highest = 1.0 if flat_above is None else flat_above - 0.015
        meshes += _tied(replace(hair, tied=min(hair.tied, highest)), body, worn)
    mesh = join(meshes)
    low = smoothstep(0.7, 0.57, mesh.vertices[:, 2])
    vertices = carried_over(mesh.vertices, body, shape, "head")
    if low.any():
        lower = low > 0
        below = carried_over(mesh.vertices[lower], body, shape, "torso")
        vertices[lower] += (below - vertices[lower]) * low[lower, None]
    bones, weights = between_bones(body, "head", "spine01", low * np.float32(0.85))
    return Mesh(vertices, bones, weights, mesh.coords, mesh.faces, mesh.labels)


def paint_hair(hair: Hair, labels: Ints, coords: Floats, colours: Floats) -> None:
    """Colour, in place, what is hair among pixels of `labels` (N,), `coords` (N, 4) and sRGB `colours` (N, 3).

    The skin of the scalp is darkened where hair grows.
    """
    scalp = np.flatnonzero(labels == Label.SKIN_HEAD)
    if len(scalp) and hair.style != "bald":
        x, y, z = coords[scalp, 0], coords[scalp, 1] - HEAD_CENTRE[1], coords[scalp, 2]
        line = np.interp(np.abs(np.arctan2(x, -y)), ANGLES, CUT) + 0.006
        grown = scalp[z > line]
        colours[grown] += (hair.colour - colours[grown]) * np.float32(0.8)
    chosen = np.flatnonzero((labels == Label.HAIR) | (labels == Label.HAIR_SHEET))
    if not len(chosen):
        return
    turn, depth, height = coords[chosen, 0], coords[chosen, 1], coords[chosen, 2]
    a, b, c = (np.float32(6.3 * phase) for phase in hair.phases[:3])
    bend = 2 * np.sin(14 * depth + a)
    strands = np.sin(31 * turn + bend + b) + np.sin(53 * turn - bend + c) + np.sin(19 * turn + 35 * depth + a)
    base = hair.colour + (hair.tips - hair.colour) * smoothstep(0.16, 0.34, depth)[:, None]
    crown = np.exp(-(((height - np.float32(0.825)) / np.float32(0.025)) ** 2))
    colours[chosen] = np.clip(base * (1 + np.float32(0.13) * strands + np.float32(0.25) * crown)[:, None], 0, 1)
