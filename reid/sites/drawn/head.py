"""Heads: face, hair, hat and scarf from the front, from behind and in profile (looking towards +x)."""

from __future__ import annotations

import numpy as np

from reid.sites.drawn.canvas import (
    Layer,
    Points,
    arc,
    capsule,
    darker,
    ellipse,
    fill,
    lighter,
    moved,
    polygon,
    rounded,
    shade,
    stroke,
)
from reid.sites.drawn.people import Person

_Y = 43.0  # the head's centre, in layer pixels


def _scaled(points: Points, person: Person) -> Points:
    """The outline resized about the chin, since heads differ in size."""
    return (points - (0, _Y + 16)) * person.head + (0, _Y + 16)


def _shows_hair_behind(person: Person) -> bool:
    return person.hat != "headscarf"


def draw_hair_behind(layer: Layer, person: Person) -> None:
    """Hair that hangs behind the neck; from the front it is drawn before the body."""
    if not _shows_hair_behind(person):
        return
    if person.hair_style == "long":
        fill(
            layer, _scaled(rounded(polygon((-16, 30), (16, 30), (20, 92), (-20, 92))), person), darker(person.hair, 0.9)
        )
    elif person.hair_style == "bob":
        fill(
            layer, _scaled(rounded(polygon((-17, 28), (17, 28), (20, 70), (-20, 70))), person), darker(person.hair, 0.9)
        )
    elif person.hair_style == "curly":
        fill(layer, _scaled(ellipse(0, _Y - 5, 20, 20), person), darker(person.hair, 0.9))


def _draw_topknot(layer: Layer, person: Person, x: float, y: float) -> None:
    if person.hair_style == "bun" and person.hat in ("none", "cap"):
        fill(layer, _scaled(ellipse(x, y, 8, 7.5), person), darker(person.hair, 0.92))


def _draw_face(layer: Layer, person: Person) -> None:
    skin = person.skin
    for side in (-1, 1):
        fill(layer, _scaled(ellipse(14 * side, _Y + 2, 3, 4), person), darker(skin, 0.9))
    fill(layer, _scaled(rounded(polygon((-15, 26), (15, 26), (15, 50), (7, 62), (-7, 62), (-15, 50))), person), skin)
    if person.beard:
        beard = np.concatenate([arc(0, _Y + 3, 13.5, 16.5, 0, 180), arc(0, _Y + 4, 8, 5, 180, 360)])
        fill(layer, _scaled(beard, person), person.hair)
    dark = (44, 34, 34)
    for side in (-1, 1):
        fill(layer, _scaled(ellipse(5.5 * side, _Y + 1, 1.7, 2.2), person), dark)
        stroke(layer, _scaled(polygon((3.2 * side, _Y - 4), (8.4 * side, _Y - 4.4)), person), darker(skin, 0.55), 1)
        if person.glasses:
            stroke(layer, _scaled(ellipse(6 * side, _Y + 1, 4.8, 4.6), person), dark, 1, closed=True)
    stroke(layer, _scaled(polygon((0, _Y + 3), (1, _Y + 6)), person), darker(skin, 0.78), 2)
    stroke(layer, _scaled(arc(0, _Y + 9, 4, 2.4, 20, 160), person), (158, 72, 68), 2)


def _draw_hair_front(layer: Layer, person: Person) -> None:
    if person.hair_style == "bald":
        return
    drop = {"short": 0.0, "curly": -2.0}.get(person.hair_style, 6.0)
    crown = arc(0, _Y - 4, 16.5, 17.5, 180, 360)
    fringe = polygon((16.5, _Y + drop), (12.5, _Y - 5), (6, _Y - 11), (-4, _Y - 9), (-11.5, _Y - 5), (-16, _Y + drop))
    fill(layer, _scaled(np.concatenate([crown, fringe]), person), person.hair)
    if person.hair_style == "curly":
        for x, y in ((-13, 30), (-6, 24), (2, 22), (10, 26), (15, 33)):
            fill(layer, _scaled(ellipse(x, y, 6, 6), person), person.hair)


def _draw_hair_back(layer: Layer, person: Person) -> None:
    hair = person.hair
    if person.hair_style == "bald":
        return
    nape = 54 if person.hair_style == "short" else 59
    outline = np.concatenate([arc(0, _Y - 3, 16.5, 18, 180, 360), polygon((15, 50), (9, nape), (-9, nape), (-15, 50))])
    fill(layer, _scaled(outline, person), hair)
    if person.hair_style in ("long", "bob"):
        draw_hair_behind(layer, person)
        fill(layer, _scaled(ellipse(0, _Y - 4, 16.5, 17), person), hair)
    elif person.hair_style == "curly":
        fill(layer, _scaled(ellipse(0, _Y - 4, 20.5, 20), person), hair)
    elif person.hair_style == "ponytail":
        tail = rounded(polygon((-5, 38), (5, 38), (8, 68), (0, 92), (-8, 68)))
        fill(layer, _scaled(tail, person), darker(hair, 0.82))
        fill(layer, _scaled(ellipse(0, 40, 4.5, 3), person), person.graphic_colour)


def _draw_hair_profile(layer: Layer, person: Person) -> None:
    hair, style = person.hair, person.hair_style
    if style == "bald":
        return
    if style == "curly":
        for x, y, radius in ((-9, 38, 14), (-3, 29, 13), (6, 27, 8)):
            fill(layer, _scaled(ellipse(x, y, radius, radius), person), hair)
    crown = arc(-1, _Y - 4, 17, 17.5, 180, 325)
    if style in ("short", "curly"):
        rest = polygon((6, _Y - 9), (2, _Y - 2), (-2, _Y + 1), (-5, _Y + 8), (-12, _Y + 12))
    else:
        rest = polygon((5, _Y - 9), (2, _Y), (-2, _Y + 8), (-6, _Y + 12), (-13, _Y + 13))
    fill(layer, _scaled(np.concatenate([crown, rest]), person), hair)
    if style == "bob":
        fill(layer, _scaled(rounded(polygon((-20, 34), (1, 34), (1, 66), (-17, 70))), person), hair)
    elif style == "long":
        fill(layer, _scaled(rounded(polygon((-19, 34), (0, 34), (-3, 88), (-22, 94))), person), hair)
    elif style == "ponytail":
        fill(layer, _scaled(rounded(polygon((-12, 34), (-22, 40), (-27, 66), (-20, 84), (-17, 60))), person), hair)
    _draw_topknot(layer, person, -14, 26)


def _draw_hat(layer: Layer, person: Person, view: str) -> None:
    """The hat; `view` is front, back or profile."""
    colour = person.hat_colour
    dome = np.concatenate([arc(0, _Y - 7, 17.5, 17.5, 180, 360), polygon((17.5, _Y - 6), (-17.5, _Y - 6))])
    if person.hat == "cap":
        fill(layer, _scaled(dome, person), colour)
        if view == "front":
            fill(
                layer, _scaled(rounded(polygon((-15, 33), (15, 33), (17, 41), (-17, 41))), person), darker(colour, 0.7)
            )
        elif view == "profile":
            fill(layer, _scaled(rounded(polygon((4, 31), (20, 33), (31, 39), (6, 38))), person), darker(colour, 0.7))
        else:
            fill(layer, _scaled(arc(0, _Y - 5, 7, 6, 180, 360), person), person.hair)
        fill(layer, _scaled(ellipse(0, 19, 2, 1.6), person), darker(colour, 0.7))
    elif person.hat == "beanie":
        fill(layer, _scaled(moved(dome, 0, 1), person), colour)
        fill(layer, _scaled(capsule((-14, _Y - 8), (14, _Y - 8), 4.6, 4.6), person), lighter(colour, 0.3))
        fill(layer, _scaled(ellipse(0, 18, 5, 4.6), person), lighter(colour, 0.3))
    elif person.hat == "brim":
        crown = rounded(polygon((-14, 16), (14, 16), (17, 37), (-17, 37)))
        fill(layer, _scaled(crown, person), colour)
        fill(layer, _scaled(polygon((-15.5, 28), (15.5, 28), (16, 34), (-16, 34)), person), darker(colour, 0.55))
        fill(layer, _scaled(ellipse(0, 35, 27, 4.6), person), darker(colour, 0.9))
    elif person.hat == "headscarf":
        if view == "back":
            fill(layer, _scaled(ellipse(0, _Y - 1, 17.5, 20), person), colour)
            fill(layer, _scaled(rounded(polygon((-15, 50), (15, 50), (23, 76), (0, 88), (-23, 76))), person), colour)
            return
        x = 0.0 if view == "front" else 4.0
        rim = ellipse(x, _Y + 2, 11 if view == "front" else 11.5, 15)[::-1]
        hood = ellipse(0, _Y - 1, 17.5, 20)
        # Hood with a hole for the face: outer and inner outline in one polygon, joined by a seam.
        fill(layer, _scaled(np.concatenate([hood, hood[:1], rim, rim[:1]]), person), colour)
        fill(layer, _scaled(rounded(polygon((-14, 58), (14, 58), (22, 76), (-2, 82), (-22, 74))), person), colour)


def _draw_scarf(layer: Layer, person: Person, view: str) -> None:
    if person.scarf is None or person.hat == "headscarf":
        return
    if view != "back":
        x = -5.0 if view == "front" else 7.0
        fill(layer, capsule((x, 66), (x - 3, 100), 5.5, 5.5), darker(person.scarf, 0.85))
        stroke(layer, polygon((x - 8, 98), (x + 3, 99)), lighter(person.scarf, 0.45), 2)
    half = 13 if view != "profile" else 11
    fill(layer, capsule((-half, 64), (half, 64), 7, 7), person.scarf)
    shade(layer, 0.18, capsule((-half, 69), (half, 69), 2, 2))


def draw_head(layer: Layer, person: Person, view: str) -> None:
    """Draw head, hair, scarf and hat over a finished body; `view` is front, back or profile."""
    skin, hooded = person.skin, person.hat == "headscarf"
    if view == "front":
        _draw_scarf(layer, person, view)
        if not hooded:
            _draw_topknot(layer, person, 0, 21)
        _draw_face(layer, person)
        if not hooded:
            _draw_hair_front(layer, person)
    elif view == "back":
        fill(layer, _scaled(ellipse(0, _Y, 14.5, 17.5), person), darker(skin, 0.94))
        _draw_scarf(layer, person, view)
        if not hooded:
            _draw_hair_back(layer, person)
            _draw_topknot(layer, person, 0, 24)
    else:
        _draw_scarf(layer, person, view)
        face = rounded(polygon((-15, 26), (12, 26), (14, 42), (14, 55), (7, 62), (-9, 58), (-15, 48)))
        fill(layer, _scaled(face, person), skin)
        fill(layer, _scaled(polygon((12.5, _Y - 1), (17.5, _Y + 5), (12.5, _Y + 7)), person), skin)
        if person.beard:
            beard = rounded(polygon((0, _Y + 3), (4, _Y + 8), (14, _Y + 8), (12, _Y + 19), (5, _Y + 20), (-3, _Y + 14)))
            fill(layer, _scaled(beard, person), person.hair)
        fill(layer, _scaled(ellipse(9, _Y + 1, 1.6, 2.2), person), (44, 34, 34))
        if person.glasses:
            stroke(layer, _scaled(polygon((-3, _Y - 1), (6, _Y)), person), (44, 34, 34), 2)
            stroke(layer, _scaled(ellipse(9, _Y + 1, 4, 4.4), person), (44, 34, 34), 1, closed=True)
        stroke(layer, _scaled(polygon((9, _Y + 10), (13.5, _Y + 9.4)), person), (158, 72, 68), 2)
        if not hooded:
            _draw_hair_profile(layer, person)
            if person.hair_style in ("bald", "short", "curly", "bun", "ponytail"):
                fill(layer, _scaled(ellipse(-2, _Y + 3, 2.8, 3.8), person), darker(skin, 0.88))
    _draw_hat(layer, person, view)
