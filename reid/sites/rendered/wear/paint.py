"""Albedo and folds of a dressed person, as functions of where on the body a pixel looks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reid.sites.compiled import compiled
from reid.sites.rendered.smooth import smoothstep
from reid.sites.rendered.wear import palette
from reid.sites.rendered.wear.bags import paint_bag, paint_straps
from reid.sites.rendered.wear.details import LEG, SLEEVE, TORSO, paint_details
from reid.sites.rendered.wear.garments import neckline, opening
from reid.sites.rendered.wear.head import paint_head
from reid.sites.rendered.wear.materials import fold_slopes, noise, paint_cloth
from reid.sites.rendered.wear.mesh import Label
from reid.sites.rendered.wear.outfit import Bottom, Top
from reid.sites.rendered.wear.people import Person
from reid.sites.rendered.wear.shoes import paint_shoes
from reid.sites.rendered.wear.surface import around_arm, around_leg, around_torso

Floats = NDArray[np.float32]
Ints = NDArray[np.int32]

_TOP_LABELS = (
    (Label.UPPER, Label.UPPER_TAIL, Label.UPPER_SLEEVE),
    (Label.OUTER, Label.OUTER_TAIL, Label.OUTER_SLEEVE),
)


def _torso(top: Top, coords: Floats, outer: bool) -> Floats:
    u, v = around_torso(coords)
    colours = paint_cloth(top.cloth, u, v)
    paint_details(top.details, TORSO, coords, u, v, colours)
    for detail in top.details:
        if detail.kind == "edges":
            colours[v < top.hem + detail.numbers[0]] = detail.colour
    if outer and top.gap:  # facings, and lapels where it opens as a V
        width = np.where(v > 0.28, 0.035 if top.vee else 0.008, 0.008)
        colours[opening(top, coords) < width] *= np.float32(0.72)
    if not outer:
        colours[neckline(top, coords) - v < 0.012] = top.trim
    return colours


def _sleeve(top: Top, coords: Floats) -> Floats:
    u, v = around_arm(coords)
    colours = paint_cloth(top.sleeves, u, v)
    if top.sleeves is top.cloth:  # the torso's stripes and checks, at their own scale
        paint_details(top.details, SLEEVE, coords, u, v, colours)
    else:
        paint_details(tuple(d for d in top.details if d.kind == "sleeve stripe"), SLEEVE, coords, u, v, colours)
    for detail in top.details:
        if detail.kind == "edges":
            colours[coords[:, 3] > top.sleeve - detail.numbers[1]] = detail.colour
    return colours


def _lower(bottom: Bottom, coords: Floats) -> Floats:
    u, v = around_leg(coords)
    if bottom.skirt:
        assert bottom.tights is not None  # else no triangle has this label
        return paint_cloth(bottom.tights, u, v)
    hips = v > -0.05  # stripes go on around them
    across = np.where(hips, around_torso(coords)[0], u)
    colours = paint_cloth(bottom.cloth, across, v)
    paint_details(bottom.details, LEG, coords, u, v, colours)
    for detail in bottom.details:
        if detail.kind == "waistband":
            colours[v > bottom.rise - detail.numbers[0]] = detail.colour
        elif detail.kind == "turn-up":
            colours[v < bottom.hem + detail.numbers[0]] = detail.colour
    if bottom.tights is not None:
        below = v < bottom.hem
        colours[below] = paint_cloth(bottom.tights, u[below], v[below])
    return colours


def paint(person: Person, bag: bool, labels: Ints, coords: Floats) -> Floats:
    """Albedo (N, 3), sRGB 0 to 1, at `labels` (N,), `coords` (N, 4); `bag`: whether the person carries it."""
    colours = np.broadcast_to(person.skin, (len(labels), 3)).astype(np.float32)
    outfit = person.outfit
    skin = labels <= Label.EYE
    uneven = noise(coords[skin, 0] / 0.03, coords[skin, 2] / 0.03)
    colours[skin] *= (0.9 + 0.1 * uneven)[:, None]
    socks = ((labels == Label.SKIN_LEG) | (labels == Label.SKIN_FOOT)) & (coords[:, 2] < person.sock_top)
    colours[socks] = person.sock
    tights = outfit.bottom.tights
    colours[labels == Label.SHOE] = person.skin if tights is None else tights.base  # where shoes are open
    lower = labels == Label.LOWER
    if lower.any():
        colours[lower] = _lower(outfit.bottom, coords[lower])
    skirt = labels == Label.SKIRT
    u, v = around_torso(coords[skirt])
    colours[skirt] = paint_cloth(outfit.bottom.cloth, u, v)
    for top, (torso, tail, sleeve) in zip((outfit.top, outfit.outer), _TOP_LABELS, strict=True):
        if top is not None:
            mask = (labels == torso) | (labels == tail)
            colours[mask] = _torso(top, coords[mask], top is outfit.outer)
            mask = labels == sleeve
            colours[mask] = _sleeve(top, coords[mask])
    last = outfit.outer or outfit.top
    if bag:
        strapped = (labels == Label.UPPER) | (labels == Label.OUTER)
        straps = colours[strapped]
        paint_straps(person.bag, coords[strapped], straps)
        colours[strapped] = straps
        paint_bag(person.bag, labels, coords, colours)
    colours[labels == Label.UPPER_COLLAR] = palette.shade(outfit.top.trim, 0.9)
    colours[labels == Label.OUTER_COLLAR] = palette.shade(last.trim, 0.9)
    if outfit.hooded is not None:
        hood = labels == Label.HOOD
        colours[hood] = paint_cloth(outfit.hooded.cloth, coords[hood, 0], coords[hood, 1]) * np.float32(0.9)
    if outfit.scarf is not None:
        scarf = (labels == Label.SCARF) | (labels == Label.SCARF_END)
        colours[scarf] = paint_cloth(outfit.scarf, coords[scarf, 1], coords[scarf, 0])
    paint_shoes(person.shoes, labels, coords, colours)
    paint_head(person.head, labels, coords, colours)
    return colours


@dataclass(frozen=True)
class _Wrinkles:
    """How one kind of place folds."""

    u: Floats
    v: Floats
    stretch: Floats
    strength: Floats


def _bump(x: Floats, at: float, width: float) -> Floats:
    return np.exp(-(((x - at) / width) ** 2))


def _trunk_wrinkles(coords: Floats) -> _Wrinkles:
    """Few on the chest, more at waist and armpits."""
    u, v = around_torso(coords)
    strength = 0.35 + 0.45 * _bump(v, 0.17, 0.1) + 0.4 * _bump(v, 0.44, 0.06) * (np.abs(coords[:, 0]) > 0.09)
    return _Wrinkles(u + 0.5 * (v - 0.2) * np.sign(u), v, np.full(len(u), 1.0, np.float32), strength)


def _sleeve_wrinkles(coords: Floats) -> _Wrinkles:
    u, v = around_arm(coords)
    t = coords[:, 3]
    strength = 0.45 + 0.7 * _bump(t, 0.5, 0.18) + 0.5 * _bump(t, 0.98, 0.12)
    return _Wrinkles(u, v, np.full(len(u), 0.45, np.float32), strength)


def _leg_wrinkles(coords: Floats) -> _Wrinkles:
    u, v = around_leg(coords)
    strength = 0.35 + 0.55 * _bump(v, -0.07, 0.07) + 0.6 * _bump(v, -0.34, 0.09) + 0.9 * smoothstep(-0.58, -0.74, v)
    return _Wrinkles(u, v, np.full(len(u), 0.5, np.float32), strength)


def _tail_wrinkles(coords: Floats) -> _Wrinkles:
    u, v = around_torso(coords)
    return _Wrinkles(u, v, np.full(len(u), 5.0, np.float32), np.full(len(u), 0.5, np.float32))


def folds(person: Person, labels: Ints, coords: Floats, normals: Floats, phase: tuple[float, float]) -> Floats:
    """What folds add to the normals (N, 3) of cloth, 0 elsewhere; `phase` moves them."""
    outfit = person.outfit
    around, along = np.zeros(len(labels), np.float32), np.zeros(len(labels), np.float32)
    over = outfit.outer or outfit.top
    parts = [
        (Label.LOWER, _leg_wrinkles, outfit.bottom.tights if outfit.bottom.skirt else outfit.bottom.cloth),
        (Label.SKIRT, _tail_wrinkles, outfit.bottom.cloth),
        (Label.UPPER, _trunk_wrinkles, outfit.top.cloth),
        (Label.UPPER_TAIL, _tail_wrinkles, outfit.top.cloth),
        (Label.UPPER_SLEEVE, _sleeve_wrinkles, outfit.top.sleeves),
        (Label.OUTER, _trunk_wrinkles, over.cloth),
        (Label.OUTER_TAIL, _tail_wrinkles, over.cloth),
        (Label.OUTER_SLEEVE, _sleeve_wrinkles, over.sleeves),
        (Label.HOOD, _tail_wrinkles, None if outfit.hooded is None else outfit.hooded.cloth),
        (Label.SCARF, _tail_wrinkles, outfit.scarf),
        (Label.SCARF_END, _tail_wrinkles, outfit.scarf),
    ]
    for label, kind, cloth in parts:
        mask = labels == label
        if cloth is None or not mask.any():
            continue
        place = kind(coords[mask])
        first, second = fold_slopes(place.u, place.v, cloth.fold_size, place.stretch, phase)
        strength = np.float32(0.2 * cloth.folds) * place.strength
        around[mask], along[mask] = first * strength, second * strength
        if cloth.quilt:  # rows bulge between their seams
            along[mask] += np.float32(0.28) * np.sin(2 * np.pi * place.v / cloth.quilt).astype(np.float32)
    return _tilted(normals, around, along)


@compiled
def _tilted(normals: Floats, around: Floats, along: Floats) -> Floats:
    """Slopes (N,) around and along the surface as what they add to its normals (N, 3)."""
    out = np.zeros_like(normals)
    for i in range(normals.shape[0]):
        x, y, z = normals[i, 0], normals[i, 1], normals[i, 2]
        flat = max(np.sqrt(x * x + y * y), np.float32(0.05))
        east, up = around[i] / flat, along[i] / flat
        out[i, 0] = east * y + up * z * x
        out[i, 1] = up * z * y - east * x
        out[i, 2] = -up * flat * flat
    return out
