"""The figure: legs, garments, arms and bags of a person in a pose, head included."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from reid.sites.drawn.bags import draw_bag_behind, draw_bag_in_front, draw_bag_in_hand
from reid.sites.drawn.canvas import (
    GROUND,
    Layer,
    Points,
    capsule,
    darker,
    ellipse,
    fill,
    mirrored,
    moved,
    new_layer,
    paint,
    polygon,
    rounded,
    shade,
    stroke,
)
from reid.sites.drawn.clothes import jacket_back_sheet, plain_sheet, upper_sheet
from reid.sites.drawn.head import draw_hair_behind, draw_head
from reid.sites.drawn.people import Person

VIEWS = ("front", "back", "left", "right")

_Joint = tuple[float, float]


@dataclass(frozen=True)
class Pose:
    """How a person stands in one image."""

    view: str  # one of VIEWS; left and right name the side of the image that the person faces
    phase: float  # of the gait, radians
    stride: float  # 0 (standing) .. 1 (brisk)


def _limb(layer: Layer, joints: tuple[_Joint, _Joint, _Joint], radii: tuple[float, float, float], cloth: Layer) -> None:
    first, middle, last = joints
    paint(layer, capsule(middle, last, radii[1], radii[2]), cloth)
    paint(layer, capsule(first, middle, radii[0], radii[1]), cloth)


def _between(a: _Joint, b: _Joint, share: float) -> _Joint:
    return (a[0] + (b[0] - a[0]) * share, a[1] + (b[1] - a[1]) * share)


def _draw_shoe(layer: Layer, person: Person, ankle: _Joint, profile: bool) -> None:
    x, y = ankle
    if profile:
        shoe = rounded(
            polygon((x - 7, y - 6), (x + 5, y - 6), (x + 9, y), (x + 17, y + 4), (x + 17, y + 10), (x - 8, y + 10))
        )
        sole = capsule((x - 6, y + 8.5), (x + 15, y + 8.5), 1.8, 1.8)
    else:
        shoe = rounded(polygon((x - 7, y - 6), (x + 7, y - 6), (x + 9, y + 10), (x - 9, y + 10)))
        sole = capsule((x - 6.5, y + 8.5), (x + 6.5, y + 8.5), 1.8, 1.8)
    if person.boots:
        fill(layer, capsule((x, y - 24), (x, y), 8.5, 7.5), person.shoes)
    fill(layer, shoe, person.shoes)
    fill(layer, sole, person.sole)


def _draw_leg(layer: Layer, person: Person, hip: _Joint, ankle: _Joint, bend: float, profile: bool, far: bool) -> None:
    """One leg down to its shoe; `bend` moves the knee towards +x, and a far leg lies in shade."""
    middle = _between(hip, ankle, 0.5)
    knee = (middle[0] + bend, middle[1])
    bare = plain_sheet(person.skin)
    _limb(layer, (hip, knee, ankle), (10.5, 8.0, 5.6), bare)
    if person.socks is not None:
        fill(layer, capsule(_between(knee, ankle, 0.68), ankle, 6.6, 6.0), person.socks)
    if person.lower in ("trousers", "shorts"):
        cloth = plain_sheet(person.lower_colour)
        if person.lower == "trousers":
            _draw_shoe(layer, person, ankle, profile)
            end = _between(knee, ankle, 0.82 if person.boots else 0.98)
            _limb(layer, (hip, knee, end), (12.5, 10.0, 8.0), cloth)
        else:
            end = _between(hip, knee, 0.86)
            paint(layer, capsule(hip, end, 12.8, 11.6), cloth)
        if person.stripe is not None:
            x = 0.0 if profile else 6.0 * np.sign(hip[0])
            line = [hip, end] if person.lower == "shorts" else [hip, knee, end]
            stroke(layer, moved(polygon(*line), x, 0.0), person.stripe, 5)
    if person.lower != "trousers":
        _draw_shoe(layer, person, ankle, profile)
    if far:
        shade(layer, 0.22, capsule(hip, knee, 13, 10.5), capsule(knee, (ankle[0], ankle[1] + 8), 10.5, 10))


def _draw_skirt(layer: Layer, person: Person, half_width: float, feet: tuple[float, float]) -> None:
    """A skirt from the waist to the knees or to the ankles, as wide as the step."""
    long = person.lower == "long skirt"
    hem = 222.0 if long else 188.0
    reach = 0.8 if long else 0.4
    left = min(-half_width - (9 if long else 8), min(feet) * reach - 8)
    right = max(half_width + (9 if long else 8), max(feet) * reach + 8)
    top = half_width - 2
    outline = polygon((-top, 124), (top, 124), (half_width + 3, 146), (right, hem), (left, hem), (-half_width - 3, 146))
    paint(layer, outline, plain_sheet(person.lower_colour))
    if person.stripe is not None:
        stroke(layer, polygon((left + 2, hem - 9), (right - 2, hem - 9)), person.stripe, 6)
    for share in (0.3, 0.62):
        x = left + (right - left) * share
        shade(layer, 0.16, polygon((x * 0.4, 140), (x - 1.5, hem), (x + 2.5, hem)))


def _draw_arm(layer: Layer, person: Person, shoulder: _Joint, hand: _Joint, bend: float, far: bool) -> None:
    """One arm with its sleeve; `bend` moves the elbow towards +x."""
    middle = _between(shoulder, hand, 0.5)
    elbow = (middle[0] + bend, middle[1])
    outline = capsule(shoulder, elbow, 9.5, 8.6), capsule(elbow, hand, 8.6, 6.8)
    shade(layer, 0.2, *(moved(part, 0, 1.5) for part in outline))  # sets it off from a torso in the same cloth
    _limb(layer, (shoulder, elbow, hand), (7.5, 6.2, 4.6), plain_sheet(person.skin))
    fill(layer, ellipse(hand[0], hand[1] + 2, 5.2, 6), darker(person.skin, 0.96))
    cloth = _sleeve_cloth(person)
    if person.outer != "none" or person.sleeves == "long":
        _limb(layer, (shoulder, elbow, _between(elbow, hand, 0.9)), (8.8, 7.6, 6.2), cloth)
    elif person.sleeves == "short":
        paint(layer, capsule(shoulder, _between(shoulder, elbow, 0.72), 9.0, 8.6), cloth)
    if far:
        shade(layer, 0.2, *outline)


def _sleeve_cloth(person: Person) -> Layer:
    if person.outer == "jacket":
        return plain_sheet(person.outer_colour)
    if person.sleeve_colour is not None:
        return plain_sheet(person.sleeve_colour)
    return upper_sheet(person, "profile")


def _torso(person: Person, profile: bool) -> Points:
    hem = 180.0 if person.outer == "coat" else 148.0
    flare = 6.0 if person.outer == "coat" else 0.0
    if profile:
        outline = polygon(
            (-8, 66), (8, 66), (13, 78), (16, 96), (14, 122), (16 + flare, hem),
            (-16 - flare, hem), (-13, 122), (-15, 92), (-13, 74),
        )  # fmt: skip
        return rounded(outline)
    shoulder, hip = 26 * person.shoulders, 21 * person.hips
    waist = 0.5 * (shoulder - 5 + hip) - (2.5 if person.hips > 1 else 0)
    return rounded(
        mirrored((7, 64), (shoulder - 6, 68), (shoulder + 1, 74), (shoulder - 3, 92), (waist, 120), (hip + flare, hem))
    )


def _draw_torso(layer: Layer, person: Person, view: str) -> None:
    profile = view == "profile"
    outline = _torso(person, profile)
    if person.outer == "jacket" and view == "back":
        paint(layer, outline, jacket_back_sheet(person))
    else:
        paint(layer, outline, upper_sheet(person, view))
    if person.outer == "jacket":
        _draw_jacket_fronts(layer, person, view)
    elif person.outer == "coat":
        _draw_coat_details(layer, person, view)
    elif view == "front":
        fill(layer, rounded(polygon((-7, 63), (7, 63), (0, 76))), darker(person.skin, 0.92))


def _draw_jacket_fronts(layer: Layer, person: Person, view: str) -> None:
    cloth = plain_sheet(person.outer_colour)
    if view == "front":
        shoulder, hip = 26 * person.shoulders, 21 * person.hips
        for side in (-1, 1):
            panel = polygon(
                (6, 62),
                (shoulder - 4, 68),
                (shoulder + 1, 76),
                (shoulder - 4, 110),
                (hip + 2, 152),
                (10, 152),
                (11, 90),
            )
            paint(layer, panel * (side, 1), cloth)
            shade(layer, 0.25, polygon((6, 62), (11, 90), (13.5, 90), (9, 62)) * (side, 1))
    elif view == "profile":
        paint(layer, rounded(polygon((-10, 65), (3, 65), (8, 90), (7, 152), (-18, 152), (-16, 90), (-14, 72))), cloth)


def _draw_coat_details(layer: Layer, person: Person, view: str) -> None:
    half = 16.0 if view == "profile" else 22 * person.hips
    fill(layer, polygon((-half, 121), (half, 121), (half, 128), (-half, 128)), person.outer_colour)
    if view == "front":
        shade(layer, 0.35, polygon((-1, 76), (1, 76), (1, 178), (-1, 178)))
        for side in (-1, 1):
            fill(layer, polygon((1 * side, 84), (6 * side, 63), (15 * side, 66), (11 * side, 78)), person.outer_colour)
        for y in (96, 110, 142):
            fill(layer, ellipse(6, y, 2.2, 2.2), darker(person.outer_colour, 0.7))


def _near_hand(person: Person, view: str) -> bool:
    """Whether a side view shows the hand that carries the bag: facing right one sees the person's right side."""
    return person.bag_side == (-1 if view == "right" else 1)


def _draw_facing(person: Person, pose: Pose) -> Layer:
    """Front and back views."""
    layer, view = new_layer(), pose.view
    swing = np.sin(pose.phase) * pose.stride
    shoulder, hip = 26 * person.shoulders, 21 * person.hips
    bag_side = person.bag_side if view == "front" else -person.bag_side
    hands = {side: (side * (shoulder + 5 + 2 * swing * side), 136 - 5 * swing * side) for side in (-1, 1)}

    if view == "front":
        draw_hair_behind(layer, person)
    draw_bag_behind(layer, person, view, hands[bag_side], bag_side)
    for side in (-1, 1):
        lift = max(0.0, swing * side) * 9
        bend = side * 1.5
        ankle = (side * (10.5 - lift * 0.3), GROUND - 10.0 - lift)
        _draw_leg(layer, person, (side * hip * 0.47, 142), ankle, bend, False, far=lift > 3)
    if person.lower in ("skirt", "long skirt"):
        _draw_skirt(layer, person, hip, (-10.0, 10.0))
    else:
        waist = rounded(mirrored((hip - 1, 126), (hip + 1, 140), (hip * 0.6, 156)))
        paint(layer, waist, plain_sheet(person.lower_colour))
        shade(layer, 0.3, polygon((-0.8, 150), (0.8, 150), (0.5, 172), (-0.5, 172)))
    fill(layer, capsule((0, 54), (0, 70), 6.8, 7.5), darker(person.skin, 0.86))
    _draw_torso(layer, person, view)
    for side in (-1, 1):
        _draw_arm(layer, person, (side * (shoulder - 4), 76), hands[side], side * 4.5, far=False)
    draw_bag_in_front(layer, person, view, bag_side, shoulder)
    draw_bag_in_hand(layer, person, view, hands[bag_side], bag_side)
    draw_head(layer, person, view)
    return layer


def _draw_profile(person: Person, pose: Pose) -> Layer:
    """Side views, drawn facing +x; left is mirrored."""
    layer = new_layer()
    swing, recovery = np.sin(pose.phase) * pose.stride, np.cos(pose.phase) * pose.stride
    near_carries = _near_hand(person, pose.view)
    near_hand = (4 - 24 * swing, 136 - 5 * abs(swing))
    far_hand = (4 + 24 * swing, 136 - 5 * abs(swing))
    carrying = near_hand if near_carries else far_hand
    near_ankle = (27 * swing, GROUND - 10 - 10 * max(0.0, recovery))
    far_ankle = (-27 * swing, GROUND - 10 - 10 * max(0.0, -recovery))

    draw_bag_behind(layer, person, "profile", carrying, -1)
    _draw_arm(layer, person, (1, 78), far_hand, -5, far=True)
    if not near_carries:
        draw_bag_in_hand(layer, person, "profile", far_hand, 1)
    _draw_leg(layer, person, (0, 142), far_ankle, 3 + 12 * max(0.0, -recovery), True, far=True)
    _draw_leg(layer, person, (0, 142), near_ankle, 3 + 12 * max(0.0, recovery), True, far=False)
    if person.lower in ("skirt", "long skirt"):
        _draw_skirt(layer, person, 15.5, (near_ankle[0], far_ankle[0]))
    else:
        paint(layer, ellipse(0, 142, 15.5 * person.hips, 16), plain_sheet(person.lower_colour))
    fill(layer, capsule((-1, 54), (-1, 70), 6.8, 7.5), darker(person.skin, 0.86))
    _draw_torso(layer, person, "profile")
    draw_head(layer, person, "profile")
    draw_bag_in_front(layer, person, "profile", 1 if near_carries else -1, 15.0)
    _draw_arm(layer, person, (0, 78), near_hand, -5, far=False)
    if near_carries:
        draw_bag_in_hand(layer, person, "profile", near_hand, 1)
    return layer if pose.view == "right" else np.ascontiguousarray(layer[:, ::-1])


def draw_person(person: Person, pose: Pose) -> Layer:
    """The person on a transparent layer (256, 176, 4): soles at row 240, the body's axis at column 88.

    Raises:
        ValueError: the view is not one of VIEWS.
    """
    if pose.view not in VIEWS:
        raise ValueError(f"view {pose.view!r} is not one of {VIEWS}")
    return _draw_facing(person, pose) if pose.view in ("front", "back") else _draw_profile(person, pose)
