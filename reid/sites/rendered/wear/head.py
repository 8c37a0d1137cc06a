"""The head: face, beard, glasses, mask, hair and hat."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reid.sites.rendered.body.body import Body, Shape
from reid.sites.rendered.wear import palette
from reid.sites.rendered.wear.attach import (
    BROWS,
    CHIN,
    EYES,
    HEAD_CENTRE,
    MOUTH,
    NOSE,
    carried_over,
    rounded_box,
    vector,
)
from reid.sites.rendered.wear.hair import Hair, Worn, hair_mesh, paint_hair, sample_hair
from reid.sites.rendered.wear.hats import HOOD, Hat, hat_mesh, paint_hat, sample_hat
from reid.sites.rendered.wear.materials import Cloth
from reid.sites.rendered.wear.mesh import Floats, Ints, Label, Mesh, join, rigid

_EYE_X = 0.031  # how far the eyes are from the middle
_FRONT = -0.095  # y in front of which the face is
# Beards and their shares among men; a goatee grows around the mouth.
BEARDS = {"none": 0.60, "stubble": 0.20, "moustache": 0.03, "goatee": 0.04, "full": 0.11, "long": 0.02}


@dataclass(frozen=True)
class Head:
    """Face, hair and hat of somebody; lengths in metres on the reference body, colours sRGB 0..1."""

    hair: Hair
    hat: Hat
    brows: float  # half their height
    brow_colour: palette.Colour
    eyes: palette.Colour
    lips: palette.Colour
    made_up: float  # how much of the lips' colour is seen, 0..1
    beard: str  # of BEARDS
    beard_colour: palette.Colour
    density: float  # of the beard, 0..1
    glasses: str  # "none", "clear", "sun"
    frame: palette.Colour
    lens: float  # half the height of a lens
    mask: str  # "none", "mouth"
    mask_colour: palette.Colour


def sample_head(rng: np.random.Generator, female: bool, age: float, skin: float, hood: Cloth | None = None) -> Head:
    """Somebody's head. Every call draws alike.

    Args:
        rng: of the person.
        female: a woman or girl.
        age: years.
        skin: 0 the palest to 1 the darkest.
        hood: cloth of the hood of what the person wears; it may be up. None: there is no hood.
    """
    hair, hat = sample_hair(rng, female, age, skin), sample_hat(rng, female, hood)
    beard = tuple(BEARDS)[int(rng.choice(len(BEARDS), p=list(BEARDS.values())))]
    u = rng.random(14)
    lips = vector(0.55 + 0.25 * u[0], 0.12 + 0.2 * u[1], 0.16 + 0.2 * u[1])
    dark = np.minimum(hair.colour, vector(0.30, 0.22, 0.17))
    grey = float(np.ptp(hair.colour)) < 0.06 and palette.lightness(hair.colour) > 0.25
    white = grey or u[2] < np.clip((age - 45) / 40, 0, 0.6)
    beard_colour = vector(0.62, 0.61, 0.6) * np.float32(0.7 + 0.4 * u[13]) if white else dark
    sun = u[3] < 0.05
    clear = u[3] < 0.05 + (0.17 if age < 45 else 0.32)
    masks = np.array([[0.60, 0.76, 0.84], [0.93, 0.94, 0.94], [0.05, 0.05, 0.06], [0.75, 0.62, 0.66]], np.float32)
    return Head(
        hair=hair,
        hat=hat,
        brows=float((0.0028 if female else 0.0042) + 0.0022 * u[4]),
        brow_colour=np.maximum(dark, beard_colour * np.float32(0.6) if white else dark).astype(np.float32),
        eyes=vector(0.10, 0.07, 0.05) if u[5] < 0.8 else vector(0.25, 0.32, 0.36),
        lips=lips,
        made_up=float(0.3 + 0.7 * u[6] if female and u[6] < 0.6 else 0.12 * u[6]),
        beard="none" if female or age < 19 else beard,
        beard_colour=beard_colour,
        density=float(0.25 + 0.25 * u[7] if beard == "stubble" else 0.75 + 0.25 * u[7]),
        glasses="sun" if sun else "clear" if clear else "none",
        frame=vector(0.04, 0.04, 0.045) if u[8] < 0.5 else vector(0.5, 0.47, 0.42) * np.float32(0.5 + 0.8 * u[9]),
        lens=float(0.013 + 0.007 * u[10]),
        mask="mouth" if u[11] < 0.05 else "none",
        mask_colour=masks[min(int(u[12] * 5.5), 3)],
    )


def head_mesh(head: Head, body: Body, shape: Shape, clearance: float = 0.012, hooded: bool = False) -> Mesh:
    """Hair, hat and long beard of a person; `clearance`: metres from skin to clothes on back and shoulders.
    `hooded`: a hood lies on the back (`hood_mesh`).

    The face itself is painted on the body's own head.
    """
    meshes = [hat_mesh(head.hat, body, shape, clearance)]
    if not head.hat.covers_hair:
        meshes.append(hair_mesh(head.hair, body, shape, Worn(clearance, HOOD if hooded else 0.0), head.hat.flat_above))
    if head.beard == "long":
        points, faces = rounded_box(0.8)
        there = points * vector(0.045, 0.035, 0.048) + vector(0, -0.122, CHIN + 0.008)
        vertices = carried_over(there, body, shape, "head")
        meshes.append(rigid(vertices, points, faces, Label.BEARD, body.bone("head")))
    return join(meshes)


def paint_head(head: Head, labels: Ints, coords: Floats, colours: Floats) -> None:
    """Colour, in place, face, hair and hat among pixels of `labels` (N,), `coords` (N, 4) and sRGB `colours` (N, 3).

    Pixels of SKIN_HEAD and EYE hold the skin's colour before.
    """
    if not head.hat.covers_hair:
        paint_hair(head.hair, labels, coords, colours)
    paint_hat(head.hat, labels, coords, colours)
    colours[labels == Label.BEARD] = head.beard_colour
    colours[labels == Label.EYE] = head.eyes
    face = np.flatnonzero((labels == Label.SKIN_HEAD) | (labels == Label.EYE))
    if not len(face):
        return
    seen = coords[face, :3]
    painted = colours[face]
    if (seen[:, 1] < _FRONT + 0.06).any():
        _paint_face(head, seen, painted)
        colours[face] = painted


def _mix(colours: Floats, where: NDArray[np.bool_], colour: Floats, share: float) -> None:
    colours[where] += (colour - colours[where]) * np.float32(share)


def _paint_face(head: Head, coords: Floats, colours: Floats) -> None:
    x, y, z = np.abs(coords[:, 0]), coords[:, 1], coords[:, 2]
    front = y < _FRONT
    sockets = front & (((x - _EYE_X) / 0.020) ** 2 + ((z - EYES - 0.002) / 0.011) ** 2 < 1)
    _mix(colours, sockets, colours[sockets] * vector(0.62, 0.55, 0.52), 0.8)
    pupils = front & (((x - _EYE_X) / 0.009) ** 2 + ((z - EYES) / 0.0065) ** 2 < 1)
    _mix(colours, pupils, head.eyes, 0.85)
    arch = BROWS - 0.18 * np.abs(x - 0.033)
    brows = front & (np.abs(z - arch) < head.brows) & (np.abs(x - 0.034) < 0.019)
    _mix(colours, brows, head.brow_colour, 0.75)
    _mix(colours, front & (np.abs(z - MOUTH) < 0.0016) & (x < 0.024), vector(0.25, 0.1, 0.09), 0.5)
    lips = front & (((z - MOUTH) / 0.010) ** 2 + (x / 0.025) ** 2 < 1)
    _mix(colours, lips, head.lips, 0.25 + 0.6 * head.made_up)
    nostrils = front & (np.abs(z - NOSE + 0.009) < 0.0035) & (np.abs(x - 0.009) < 0.006)
    _mix(colours, nostrils, colours[nostrils] * np.float32(0.4), 0.7)
    if head.beard != "none":
        _paint_beard(head, x, y, z, colours)
    if head.glasses != "none":
        _paint_glasses(head, x, y, z, colours)
    if head.mask != "none":
        covered = (
            (y < -0.055) & (z < NOSE + 0.018 - 0.15 * x) & (z > CHIN - 0.005) & (y < -0.09 + 0.9 * (NOSE - z).clip(0))
        )
        loops = (y > -0.1) & (y < -0.03) & (np.abs(z - NOSE) < 0.003)
        colours[covered | loops] = head.mask_colour


def _paint_beard(head: Head, x: Floats, y: Floats, z: Floats, colours: Floats) -> None:
    jaw = (z < MOUTH + 0.012 + 1.1 * (x - 0.02).clip(0)) & (z > CHIN - 0.03) & (y < -0.06) & (z < EYES - 0.008)
    lip = (z > MOUTH + 0.006) & (z < NOSE - 0.011) & (x < 0.028) & (y < _FRONT)
    chin = (z < MOUTH - 0.006) & (x < 0.024) & (y < _FRONT) & (z > CHIN - 0.005)
    mouth = ((z - MOUTH) / 0.007) ** 2 + (x / 0.022) ** 2 < 1
    where = {
        "stubble": jaw | lip,
        "moustache": lip,
        "goatee": lip | chin,
        "full": jaw | lip,
        "long": jaw | lip,
    }[head.beard]
    _mix(colours, where & ~mouth, head.beard_colour, head.density)


def _paint_glasses(head: Head, x: Floats, y: Floats, z: Floats, colours: Floats) -> None:
    front = y < _FRONT + 0.015
    far = np.maximum(np.abs(x - _EYE_X) / 0.0245, np.abs(z - EYES - 0.001) / head.lens)
    round_ = ((x - _EYE_X) / 0.0245) ** 2 + ((z - EYES - 0.001) / head.lens) ** 2
    edge = np.sqrt(round_) * 0.6 + far * 0.4
    if head.glasses == "sun":
        colours[front & (edge < 1.12)] = vector(0.035, 0.033, 0.04)
    else:
        _mix(colours, front & (edge < 0.85), vector(0.75, 0.8, 0.85), 0.15)
        colours[front & (np.abs(edge - 0.97) < 0.09)] = head.frame
    bridge = front & (x < 0.009) & (np.abs(z - EYES - 0.004) < 0.002)
    sides = (y > _FRONT - 0.02) & (y < HEAD_CENTRE[1] + 0.02) & (np.abs(z - EYES - 0.004) < 0.0028) & (x > 0.05)
    colours[bridge | sides] = head.frame
