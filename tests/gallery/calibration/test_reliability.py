import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from reid.gallery.calibration.judgement import Judge
from reid.gallery.calibration.reliability import HEADER, reliability_picture, strangers_table, table
from reid.gallery.calibration.thresholds import Calibration, calibrate, measure
from reid.networks import Origin
from reid.retrieval.features import Features
from reid.texts import align


def draw(people: int, seed: int, spread: float) -> tuple[Features, Features]:
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(people, 8))
    sides = []
    for images in (3, 6):
        pids = np.repeat(np.arange(people), images)
        rows = (centres[pids] + spread * rng.normal(size=(len(pids), 8))).astype(np.float32)
        sides.append(Features(rows, pids + 1, np.tile(np.arange(images) % 3, people)))
    return sides[0], sides[1]


@pytest.fixture(scope="module")
def calibration() -> Calibration:
    own = calibrate(*draw(24, 0, 0.5), Origin("runs/$x$", 8, "n", "p"), "plaza", (0.001, 0.01, 0.1))
    return replace(own, targets=(measure(own, *draw(12, 1, 0.8), "street_$1"),))


def test_table(calibration):
    lines = table(calibration)
    assert lines[0] == HEADER and {len(line) for line in lines} == {len(HEADER)}
    assert [line[:2] for line in lines[1:]] == [
        ["plaza, fitted half", "0.1"],
        ["plaza, held half", "1"], ["plaza, held half", "10"], ["street_$1", "1"], ["street_$1", "10"],
    ]  # fmt: skip
    assert lines[1][2] == "not resolved" and lines[1][7].endswith("of 10,000")
    row = calibration.targets[0].rates[1]
    share = row.false_match
    assert lines[5][2] == f"{row.threshold:.4f}" and lines[5][7] == f"{share.count:,}"
    assert lines[5][3] == f"{100 * share.value:.3g} ({100 * share.low:.3g}-{100 * share.high:.3g})"
    assert align(lines).count("\n") == 6


def test_strangers_table(calibration):
    own = calibrate(*draw(120, 0, 0.5), Origin("x", 8, "n", "p"), "plaza", (0.01,))
    header, *lines = strangers_table(replace(own, targets=(measure(own, *draw(12, 1, 0.8), "street"),)))
    assert {len(line) for line in lines} == {len(header)} and [line[1] for line in lines[:2]] == [
        "plaza, held half", "street"
    ]  # fmt: skip
    ((_, met),) = Judge(own, 30).met
    assert lines[0][0] == "30" and lines[0][2:4] == [f"{Judge(own, 30).near:.4f}", "5"]
    assert lines[0][4].startswith(f"{100 * met.value:.3g} ({100 * met.low:.3g}-")
    assert lines[-1] == ["100,000", "plaza, fitted half", "not resolved", "5", "resolved: from over 99 %"]


def test_picture(calibration):
    picture, again = reliability_picture(calibration), reliability_picture(calibration)
    assert Image.open(io.BytesIO(picture)).format == "PNG" and picture == again
    assert picture != reliability_picture(replace(calibration, targets=()))


def test_a_rate_of_zero_is_drawn(calibration):
    """On an axis of powers of ten, with an open marker."""
    rows = calibration.held.rates
    none = replace(rows[0].false_match, value=0.0, low=0.0, high=0.0)
    held = replace(calibration.held, rates=(replace(rows[0], false_match=none), *rows[1:]))
    assert reliability_picture(replace(calibration, held=held))
