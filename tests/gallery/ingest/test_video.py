"""A video becomes entries: drawn people whom colours tell apart, then a real one with public networks."""

import io
import itertools
import logging
import os
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT
from drawn_video import COLOURS, FPS, ColourDetector, ColourModel, write_video
from PIL import Image

from reid.errors import InputError
from reid.gallery.catalogue.thumbnails import crop
from reid.gallery.ingest import video as module
from reid.gallery.ingest.adding import Intake
from reid.gallery.ingest.video import fragments
from reid.gallery.store import Gallery
from reid.networks import load
from reid.video.detect import load_detector
from reid.video.frames import frames, read_frame

SHARED = Path(os.environ.get("REID_SHARED", ROOT.parent / "shared"))
REAL = SHARED / "data" / "video" / "one-by-one-person-detection.mp4"


def scene(number):
    """Red walks right all along, nearer from frame 40 on; green stands in frames 20 to 59; blue is away in 30 to 69."""
    tall = 20 if number >= 40 else 0
    found = [("red", (2 * number, 100 - tall, 2 * number + 40, 200 + tall))]
    if 20 <= number < 60:
        found.append(("green", (260, 20, 300, 120)))
    if not 30 <= number < 70:
        found.append(("blue", (100, 0, 140, 80)))
    return found


@pytest.fixture(scope="module")
def walk(tmp_path_factory):
    return write_video(tmp_path_factory.mktemp("video") / "walk.avi", scene, 100)


def run(path, model=None, **options):
    return list(fragments(path, "door", ColourDetector(), model or ColourModel(), progress=False, **options))


def colour(feature):
    distances = {name: np.abs(feature / feature.max() - np.array(own) / 220).max() for name, own in COLOURS.items()}
    return min(distances, key=distances.get)


class BlindToRed(ColourModel):
    """Finds nothing in some crops: NaN in those of the red one, or in those of the first call's first."""

    def __init__(self, some):
        super().__init__()
        self.some = some

    def embed(self, images):
        features = super().embed(images)
        red = features.argmax(axis=1) == 0
        if self.some:
            red &= np.arange(len(features)) < 2
        features[red] = np.nan
        return features


def test_a_fragment_in_which_nothing_is_found_stops_no_other(walk, tmp_path):
    with Gallery.create(tmp_path / "gallery", ColourModel.origin) as gallery:
        added = Intake(gallery).fragments(fragments(walk, "door", ColourDetector(), BlindToRed(False), progress=False))
        features = gallery.features(added.ids)
    (red,) = [entry for entry, feature, _ in run(walk) if colour(feature) == "red"]
    assert [colour(row) for row in features] == ["blue", "green", "blue"]
    assert added.problems == [
        f"{walk}, frame {red.frame}, box {red.box}: the network finds nothing to compare in it: "
        "its feature is all zeros, or no number"
    ]
    whole, fewer = (
        [one for _, one, _ in run(walk, model) if colour(one) == "red"] for model in (None, BlindToRed(True))
    )
    np.testing.assert_allclose(fewer, whole, atol=0.05)  # the other crops' mean


def test_an_entry_a_fragment_with_its_times_frame_box_feature_and_thumbnail(walk):
    found = run(walk, rate=FPS, start=1000.0)
    seconds = [(colour(feature), entry.time - 1000, entry.until - 1000) for entry, feature, _ in found]
    expected = [("blue", 0, 29), ("green", 20, 59), ("red", 0, 99), ("blue", 70, 99)]
    assert [name for name, *_ in seconds] == [name for name, *_ in expected]  # as they end
    np.testing.assert_allclose([own[1:] for own in seconds], [(a / FPS, b / FPS) for _, a, b in expected], atol=1e-6)
    for entry, feature, jpeg in found:
        assert (entry.source, entry.camera, entry.identity) == (str(walk), "door", None)
        assert feature.shape == (3,) and feature.dtype == np.float32
        own = crop(read_frame(walk, entry.frame), entry.box)
        np.testing.assert_allclose(own.mean(axis=(0, 1)), COLOURS[colour(feature)], atol=15)
        with Image.open(io.BytesIO(jpeg)) as picture:
            assert picture.size == (entry.box[2] - entry.box[0], entry.box[3] - entry.box[1])
    red = found[2][0]
    assert red.frame >= 40 and red.box[3] - red.box[1] == pytest.approx(140, abs=2)  # nearer, so larger


def test_the_feature_is_the_mean_of_unit_features(walk):
    class Odd(ColourModel):
        def embed(self, images):
            self.rows = np.random.default_rng(len(images)).uniform(1, 9, (len(images), 3)).astype(np.float32)
            return self.rows

    model = Odd()
    *_, (_, feature, _) = run(walk, model)
    unit = model.rows / np.linalg.norm(model.rows, axis=1, keepdims=True)
    np.testing.assert_allclose(feature, unit.mean(axis=0), rtol=1e-5)


@pytest.mark.parametrize("count", [2, 5, 9, 10, 11, 12, 40, 100, 321])
def test_crops_are_few_and_spread_over_the_fragment(count):
    track, kept = module._Track(0.0), 0
    for number in range(count):
        image = np.full((80, 80, 3), number % 256, np.uint8)
        image[0, 0, 0] = number // 256
        track.see(module.Frame(number, float(number), image), module.Box(0, 0, 50, 70, 0.9))
        kept = max(kept, len(track._crops))
    assert kept <= 10

    class Numbers(ColourModel):
        def embed(self, images):
            self.numbers = [int(image[1, 1, 0]) + 256 * int(image[0, 0, 0]) for image in images]
            return np.ones((len(images), 3), np.float32)

    model = Numbers()
    track.feature(model)
    assert len(model.numbers) == min(count, 5) and model.numbers[0] == 0
    gaps = np.diff(model.numbers)
    assert (gaps > 0).all() and gaps.max() <= 0.4 * count + 1 and model.numbers[-1] >= 0.7 * (count - 1)


def test_small_unsure_and_short_ones_do_not_count(walk, tmp_path):
    assert {colour(feature) for _, feature, _ in run(walk, min_height=90)} == {"red", "green"}
    assert run(walk, min_confidence=0.95) == [] and len(run(walk, min_confidence=0.9)) == 4
    flicker = write_video(tmp_path / "flicker.avi", lambda n: scene(20) if n % 60 == 0 else [], 100)
    assert run(flicker, rate=FPS) == []


def test_a_video_of_nobody(tmp_path, caplog):
    with caplog.at_level(logging.INFO):
        assert run(write_video(tmp_path / "empty.avi", lambda _: [], 10)) == []
    assert "empty.avi: 0 track fragments" in caplog.text


def test_without_a_start_the_times_count_from_1970_and_it_is_said(walk, caplog):
    with caplog.at_level(logging.WARNING):
        times = [entry.time for entry, *_ in run(walk)]
    assert "times count from 1970-01-01 00:00:00 UTC" in caplog.text and min(times) == 0
    caplog.clear()
    run(walk, start=5.0)
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.mark.parametrize("options", [{"rate": 0}, {"rate": float("nan")}, {"rate": 1e9}, {"min_confidence": 1.5}])
def test_arguments_out_of_range(walk, options):
    with pytest.raises(InputError, match=r"rate .*expected"):
        run(walk, **options)


def test_one_who_stops_early_leaves_nothing_open(walk):
    stream = fragments(walk, "door", ColourDetector(), ColourModel(), progress=False)
    next(stream)
    stream.close()
    with pytest.raises(InputError, match="not a readable video"):
        run(Path(__file__))


def test_crops_without_a_feature_are_passed_over(walk):
    class Blind(ColourModel):
        """Sees nothing of green, and only every other crop of the rest."""

        def embed(self, images):
            found = super().embed(images)
            found[1::2] = np.nan
            found[found.argmax(axis=1) == 1] = 0.0
            return found

    found = run(walk, Blind(), rate=FPS)
    assert [colour(feature) for _, feature, _ in found if feature.any()] == ["blue", "red", "blue"]
    assert len(found) == 4 and all(np.isfinite(feature).all() for _, feature, _ in found)


def test_after_a_long_pause_one_is_found_anew(walk, monkeypatch):
    real = frames

    def paused(*arguments):
        for frame in real(*arguments):
            yield frame._replace(seconds=frame.seconds + (7200 if frame.number >= 50 else 0))

    monkeypatch.setattr(module, "frames", paused)
    found = [(colour(feature), entry.time, entry.until) for entry, feature, _ in run(walk, rate=FPS)]
    reds = [times for name, *times in found if name == "red"]
    np.testing.assert_allclose(reds, [[0, 49 / FPS], [7200 + 50 / FPS, 7200 + 99 / FPS]], atol=1e-6)


@pytest.mark.skipif(not REAL.exists(), reason="the video and the public networks are not beside the checkout")
def test_a_real_video_with_public_networks(monkeypatch, tmp_path):
    """Seconds 66 to 87: a woman leaves, in two fragments since she then walks fast, and a man comes and leaves."""

    def part(*arguments):
        until = itertools.takewhile(lambda frame: frame.seconds < 87, frames(*arguments))
        return (frame for frame in until if frame.seconds >= 66)

    monkeypatch.setenv("REID_MODELS", str(SHARED / "models" / "openvino"))
    monkeypatch.setattr(module, "frames", part)
    detector = load_detector("person-detection-retail-0013", threads=1)
    model = load("person-reidentification-retail-0265", ["threads=1"])
    with Gallery.create(tmp_path / "gallery", model.origin) as gallery:
        Intake(gallery).fragments(fragments(REAL, "door", detector, model, progress=False))
        woman = [entry.id for entry in gallery.find() if entry.until < 72]
        man = [entry.id for entry in gallery.find() if entry.time > 72]
        assert len(woman) == 2 and 1 <= len(man) <= 2
        nearest = gallery.search(gallery.features(woman), k=2)
    assert nearest.ids.tolist() == [woman, woman[::-1]]
    assert (nearest.distances[:, 1] < 0.5).all()
