from functools import cache
from itertools import pairwise

import numpy as np
import pytest

from reid.errors import InputError
from reid.sites.rendered.backdrop import ground, things, walls
from reid.sites.rendered.backdrop.backgrounds import Place, Setting, sample_background
from reid.sites.rendered.backdrop.surfaces import HEIGHT, WIDTH, View

PITCHES = (0.05, 0.15, 0.3, 0.6)


@cache
def _pictures(place: Place) -> np.ndarray:
    return np.stack([sample_background(np.random.default_rng(i), Setting(place, PITCHES[i % 4])) for i in range(5)])


def _slope(picture: np.ndarray) -> float:
    """The exponent of the amplitude spectrum's fall over frequencies of 4 to 64 cycles a picture."""
    grey = picture[:300, :300].mean(axis=-1)
    spectrum = np.abs(np.fft.fft2((grey - grey.mean()) * np.outer(np.hanning(300), np.hanning(300))))
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(300) * 300, np.fft.fftfreq(300) * 300))
    edges = np.geomspace(4, 64, 9)
    amplitudes = [spectrum[(frequency >= a) & (frequency < b)].mean() for a, b in pairwise(edges)]
    return float(np.polyfit(np.log(np.sqrt(edges[:-1] * edges[1:])), np.log(amplitudes), 1)[0])


@pytest.mark.parametrize("place", list(Place))
def test_pictures_have_the_statistics_of_photographs(place: Place):
    pictures = _pictures(place)
    assert pictures.shape == (5, HEIGHT, WIDTH, 3)
    assert pictures.dtype == np.uint8
    high, low = pictures.max(axis=-1).astype(float), pictures.min(axis=-1).astype(float)
    assert 0.05 < ((high - low) / np.maximum(high, 1)).mean() < 0.35  # low saturation
    assert all(picture.std() > 5 for picture in pictures)
    assert -2.0 < np.mean([_slope(picture) for picture in pictures]) < -0.7


def test_day_is_brighter_than_night():
    assert _pictures(Place.OUTDOOR).mean() > _pictures(Place.NIGHT).mean() + 25


def test_the_same_generator_gives_the_same_picture_and_one_draw_is_taken():
    setting = Setting(Place.OUTDOOR, 0.12)
    one, two, other = (np.random.default_rng(seed) for seed in (5, 5, 6))
    assert np.array_equal(sample_background(one, setting), sample_background(two, setting))
    assert not np.array_equal(sample_background(other, setting), sample_background(two, setting))
    steep = np.random.default_rng(6)
    sample_background(steep, Setting(Place.NIGHT, 1.2, 30.0))
    sample_background(steep, Setting(Place.INDOOR, 0.0, 3.0))
    reference = np.random.default_rng(6)
    reference.integers(2**63, size=2)
    assert steep.integers(1000) == reference.integers(1000)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pitch": -0.1}, "pitch is -0.1, not in 0.0..1.5"),
        ({"pitch": float("nan")}, "pitch is nan"),
        ({"distance": 90.0}, "distance is 90.0, not in 2.0..60.0"),
        ({"place": "moon"}, r"place 'moon' is not one of \['indoor', 'outdoor', 'night'\]"),
    ],
)
def test_bad_settings_are_named(change: dict, message: str):
    with pytest.raises(InputError, match=message):
        Setting(**{"place": Place.INDOOR, "pitch": 0.2, **change})


def test_each_material_covers_the_plane_with_finite_albedo():
    view = View(0.1, 9.0)
    floor, wall = view.ground(), view.wall(0, 3.0, 0.3)
    made = [m(np.random.default_rng(0), floor) for m in dict.fromkeys(ground.OUTDOORS + ground.INDOORS)]
    made += [m(np.random.default_rng(0), wall, 1.0) for m in dict.fromkeys(walls.OUTDOORS + walls.INDOORS)]
    for albedo in made:
        assert albedo.shape == (HEIGHT, WIDTH, 3)
        assert albedo.dtype == np.float32
        assert np.isfinite(albedo).all()
        assert albedo.min() > -1
        assert albedo.max() < 4


def test_each_thing_is_premultiplied_and_stands_on_its_foot():
    at = things.stand(View(0.1, 9.0), 0.0, 2.0)
    for kind in dict.fromkeys(things.OUTDOORS + things.INDOORS):
        layer = things.empty()
        kind(np.random.default_rng(1), layer, at)
        assert (layer[..., :3] <= layer[..., 3:]).all(), kind.__name__
        assert layer[: int(at.y), :, 3].any()
        assert not layer[int(at.y + 0.5 * at.up) :, :, 3].any()
