"""Cloth and its colours."""

from dataclasses import replace

import numpy as np
import pytest

from reid.sites.rendered.wear import palette
from reid.sites.rendered.wear.materials import _TABLE, PATTERNS, Cloth, fold_slopes, noise, paint_cloth, sample_cloth

MIXES = (
    palette.OUTER_WINTER, palette.OUTER_MILD, palette.TOP, palette.TROUSERS, palette.SHORTS, palette.SKIRTS,
    palette.TIGHTS, palette.TRIM, palette.VIVID,
)  # fmt: skip


def _cloth(pattern: str) -> Cloth:
    cloth = sample_cloth(np.random.default_rng(3), palette.TOP, plain=1.0)
    red, green, blue = np.eye(3, dtype=np.float32) * 0.8
    return replace(cloth, pattern=pattern, base=red, second=green, third=blue, period=0.05, duty=0.5, weave=0, wear=0)


def _slow_noise(u: float, v: float) -> float:
    x, y = int(np.floor(u)), int(np.floor(v))
    a, b = u - x, v - y
    a, b = 3 * a**2 - 2 * a**3, 3 * b**2 - 2 * b**3
    corners = [[_TABLE[(y + j) % 128, (x + i) % 128] for i in (0, 1)] for j in (0, 1)]
    return float(np.array([1 - b, b]) @ np.array(corners) @ np.array([1 - a, a]))


def test_noise_is_what_its_formula_says():
    places = np.random.default_rng(0).uniform(-300, 300, (2, 50)).astype(np.float32)
    expected = [_slow_noise(float(u), float(v)) for u, v in places.T]
    np.testing.assert_allclose(noise(*places), expected, atol=1e-4)


@pytest.mark.parametrize("pattern", PATTERNS)
def test_every_pattern_gives_colours_and_all_but_the_plain_vary(pattern):
    rng = np.random.default_rng(1)
    u, v = rng.uniform(-0.4, 0.4, (2, 2000)).astype(np.float32)
    colours = paint_cloth(_cloth(pattern), u, v)
    assert colours.shape == (2000, 3) and colours.dtype == np.float32
    assert colours.min() >= 0 and colours.max() <= 1
    assert (np.ptp(colours, 0).max() > 0.1) == (pattern != "plain")
    np.testing.assert_array_equal(colours, paint_cloth(_cloth(pattern), u, v))


def test_stripes_are_as_wide_as_the_period_says():
    v = np.linspace(0, 0.5, 5001, dtype=np.float32)
    green = paint_cloth(_cloth("rows"), np.zeros_like(v), v)[:, 1] > 0.4
    assert np.abs(np.diff(green.astype(int))).sum() in (19, 20, 21)  # 10 periods of 0.05 m
    assert green.mean() == pytest.approx(0.5, abs=0.01)


def test_folds_have_slopes_without_a_direction_of_their_own():
    u, v = np.random.default_rng(2).uniform(-0.5, 0.5, (2, 5000)).astype(np.float32)
    around, along = fold_slopes(u, v, 0.05, np.full(5000, 4, np.float32), (0.1, 0.7))
    assert abs(around.mean()) < 0.1 and abs(along.mean()) < 0.1
    assert around.std() > 2 * along.std()  # long wrinkles along the cloth


def test_tones_are_colours_and_mixes_name_tones():
    rng = np.random.default_rng(4)
    for name in palette.TONES:
        value = palette.tone(rng, name)
        assert value.shape == (3,) and value.min() >= 0 and value.max() <= 1
    for mix in MIXES:
        assert set(mix) <= set(palette.TONES)


def test_most_cloth_is_dark_or_without_a_hue():
    rng = np.random.default_rng(5)
    drawn = [palette.pick(rng, palette.OUTER_WINTER) for _ in range(2000)]
    neutral = {"black", "charcoal", "grey", "pale grey", "white", "cream", "navy", "beige", "khaki", "camel", "brown"}
    assert 0.6 < np.mean([name in neutral for name in drawn]) < 0.9


def test_a_second_colour_is_told_apart_and_skin_gets_darker():
    rng = np.random.default_rng(6)
    for _ in range(200):
        first = palette.colour(rng, palette.TOP)
        assert np.abs(palette.beside(rng, first, palette.TRIM) - first).max() > 0.21
    pale, middle, dark = (palette.lightness(palette.skin_colour(rng, depth)) for depth in (0.0, 0.5, 1.0))
    assert pale > middle > dark
