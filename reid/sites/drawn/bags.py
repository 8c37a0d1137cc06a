"""Bags: backpack, crossbody bag, tote and suitcase, in the order in which body and bag hide each other."""

from __future__ import annotations

from reid.sites.drawn.canvas import (
    GROUND,
    Layer,
    darker,
    ellipse,
    fill,
    lighter,
    polygon,
    rounded,
    stroke,
)
from reid.sites.drawn.people import Person

_Joint = tuple[float, float]


def _draw_suitcase(layer: Layer, person: Person, x: float, hand: _Joint, half_width: float) -> None:
    colour = person.bag_colour
    stroke(layer, polygon(hand, (x, 186)), (90, 92, 98), 3)
    fill(
        layer,
        rounded(polygon((x - half_width, 184), (x + half_width, 184), (x + half_width, 236), (x - half_width, 236)), 1),
        colour,
    )
    for share in (-0.4, 0.1, 0.6):
        stroke(layer, polygon((x + share * half_width, 190), (x + share * half_width, 230)), darker(colour, 0.75), 2)
    for side in (-0.7, 0.7):
        fill(layer, ellipse(x + side * half_width, GROUND - 2.5, 3, 3), (40, 40, 44))


def draw_bag_behind(layer: Layer, person: Person, view: str, hand: _Joint, side: int) -> None:
    """What the body hides part of: a suitcase on its wheels, a backpack from the front or in profile."""
    colour = person.bag_colour
    if person.bag == "suitcase":
        if view == "profile":
            _draw_suitcase(layer, person, -44, (min(hand[0], -6), hand[1]), 12)
        else:
            _draw_suitcase(layer, person, side * 42, hand, 15)
    elif person.bag == "backpack" and view == "profile":
        fill(layer, rounded(polygon((-10, 72), (-26, 74), (-33, 90), (-33, 128), (-10, 132))), colour)
        fill(layer, rounded(polygon((-26, 106), (-38, 108), (-38, 126), (-26, 128))), darker(colour, 0.78))
    elif person.bag == "backpack" and view == "front":
        fill(layer, rounded(polygon((-24, 70), (24, 70), (29, 128), (-29, 128))), darker(colour, 0.8))


def draw_bag_in_front(layer: Layer, person: Person, view: str, side: int, shoulder: float) -> None:
    """What lies over the body: straps, a backpack from behind, a crossbody bag."""
    colour = person.bag_colour
    if person.bag == "backpack":
        if view == "back":
            fill(layer, rounded(polygon((-20, 70), (20, 70), (23, 136), (-23, 136))), colour)
            fill(layer, rounded(polygon((-16, 106), (16, 106), (16, 132), (-16, 132)), 1), darker(colour, 0.78))
            stroke(layer, polygon((-14, 90), (14, 90)), lighter(colour, 0.35), 2)
            stroke(layer, polygon((-4, 70), (0, 66), (4, 70)), darker(colour, 0.7), 3)
        elif view == "front":
            for x in (-15.0, 15.0):
                stroke(layer, polygon((x, 67), (x * 1.15, 112)), darker(colour, 0.8), 6)
        else:
            stroke(layer, polygon((2, 68), (7, 84), (-2, 112), (-12, 118)), darker(colour, 0.8), 6)
    elif person.bag == "crossbody":
        strap = darker(colour, 0.75)
        if view == "profile":
            stroke(layer, polygon((-4, 68), (4, 126)), strap, 4)
            if side > 0:
                fill(layer, rounded(polygon((-9, 126), (17, 126), (18, 152), (-10, 152)), 1), colour)
                fill(layer, polygon((-9, 127), (17, 127), (14, 138), (-6, 138)), darker(colour, 0.82))
        else:
            x = side * (shoulder - 4)
            stroke(layer, polygon((-side * 13, 67), (x, 130)), strap, 5)
            fill(layer, rounded(polygon((x - 13, 126), (x + 13, 126), (x + 13, 152), (x - 13, 152)), 1), colour)
            fill(layer, polygon((x - 12, 127), (x + 12, 127), (x + 9, 138), (x - 9, 138)), darker(colour, 0.82))


def draw_bag_in_hand(layer: Layer, person: Person, view: str, hand: _Joint, side: int) -> None:
    """A tote that hangs from the hand."""
    if person.bag != "tote":
        return
    colour = person.bag_colour
    x, y = hand[0] + (0 if view == "profile" else side * 3), hand[1]
    stroke(layer, polygon((x - 7, y + 20), (x - 3, y + 3), (x + 3, y + 3), (x + 7, y + 20)), darker(colour, 0.7), 3)
    fill(layer, polygon((x - 13, y + 18), (x + 13, y + 18), (x + 11, y + 46), (x - 11, y + 46)), colour)
    fill(layer, ellipse(x, y + 32, 5, 5), lighter(colour, 0.45))
