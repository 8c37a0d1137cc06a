"""What is worn: kinds of garments and what is painted on them."""

import numpy as np
import pytest

from reid.sites.rendered.wear.details import EDGES, LEG, SLEEVE, TORSO, paint_details
from reid.sites.rendered.wear.outfit import Detail, Outfit, Wardrobe, sample_outfit
from reid.sites.rendered.wear.wardrobe import COOL_TOPS, LIGHT_OUTERS, MILD_OUTERS, OUTERS, TOPS, WARM_OUTERS


@pytest.fixture(scope="module")
def outfits() -> list[Outfit]:
    rng = np.random.default_rng(0)
    return [sample_outfit(rng, Wardrobe.MIXED, bool(number % 2)) for number in range(900)]


def test_every_garment_is_worn_in_some_season() -> None:
    assert set(COOL_TOPS) <= set(TOPS)
    assert {*WARM_OUTERS, *MILD_OUTERS, *LIGHT_OUTERS} == set(OUTERS)


def test_every_detail_that_is_drawn_is_painted_and_the_other_way_round(outfits: list[Outfit]) -> None:
    worn = [garment for one in outfits for garment in (one.bottom, one.top, one.outer) if garment is not None]
    drawn = {detail.kind for garment in worn for detail in garment.details}
    assert drawn == {*TORSO, *SLEEVE, *LEG, *EDGES}


def test_details_colour_a_part_of_their_garment(outfits: list[Outfit]) -> None:
    x, z = np.meshgrid(np.linspace(-0.2, 0.2, 81), np.linspace(-0.1, 0.55, 131))
    flat = np.stack([x.ravel(), np.zeros(x.size), z.ravel(), np.zeros(x.size)], 1).astype(np.float32)
    seen: dict[str, Detail] = {detail.kind: detail for one in outfits for detail in one.top.details}
    for kind in set(seen) & set(TORSO):
        painted = []
        for y in (-0.1, 0.1):  # front, back
            coords = flat + np.array([0, y, 0, 0], np.float32)
            colours = np.full((len(coords), 3), -1, np.float32)
            paint_details((seen[kind],), TORSO, coords, coords[:, 0], coords[:, 2], colours)
            painted.append((colours[:, 0] >= 0).mean())
        front, back = painted
        if kind in ("logo", "letters", "placket", "pockets"):
            assert 0 < front < 0.5 and back == 0, kind
        elif kind.startswith("back"):
            assert front == 0 < back < 0.5, kind
        else:
            assert 0 < front < 1 and 0 < back < 1, kind
