import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from labelled import draw, pairs_by_loops

from reid.errors import InputError
from reid.gallery.calibration.thresholds import ROUNDING, Calibration, calibrate, halves, measure
from reid.networks import Origin
from reid.retrieval.features import Features
from reid.retrieval.verification import verify

ORIGIN = Origin("runs/x", 8, "network", "resize")
OTHER = Origin("runs/y", 8, "network 2", "resize")


@pytest.fixture(scope="module")
def calibration() -> Calibration:
    own = calibrate(*draw(24), ORIGIN, "plaza", (0.001, 0.01, 0.1))
    return replace(own, targets=(measure(own, *draw(12, seed=9, spread=0.8), "street"),))


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 1000), st.floats(0.02, 0.9))
def test_thresholds_are_the_largest_that_keep_the_rate(seed, rate):
    query, gallery = draw(12, seed)
    own = calibrate(query, gallery, ORIGIN, "plaza", (rate,), seed)
    fitted = pairs_by_loops(*halves(query, gallery, seed)[0])
    false = np.array([pair[2] for pair in fitted if not pair[3]])
    assert own.fitted.false == len(false) and own.fitted.true == len(fitted) - len(false)
    assert (false <= own.at(rate).threshold).mean() <= rate
    assert (false <= own.at(rate).threshold + 2 * ROUNDING).mean() > rate


def test_thresholds_are_those_of_the_roc_curve(calibration):
    query, gallery = halves(*draw(24), 0)[0]
    for point in verify(query, gallery, rates=(0.01, 0.1)):
        assert calibration.at(point.wanted).threshold == pytest.approx(point.threshold, abs=3e-6)


def test_the_held_half_is_what_measure_finds_there(calibration):
    held = measure(calibration, *halves(*draw(24), 0)[1], "plaza, held half")
    assert held == calibration.held


def test_halves_share_no_person_and_no_image():
    query, gallery = draw(9)
    parts = halves(query, gallery, 3)
    people = [set(q.pids) | set(g.pids[g.pids > 0]) for q, g in parts]
    assert not people[0] & people[1] and people[0] | people[1] == set(range(1, 10)) and len(people[0]) == 5
    rows = [{row.tobytes() for row in g.features} for _, g in parts]
    assert not rows[0] & rows[1] and len(rows[0] | rows[1]) == (gallery.pids >= 0).sum()
    assert [list(q.pids) for q, _ in halves(query, gallery, 3)] == [list(q.pids) for q, _ in parts]
    assert people[0] != set(halves(query, gallery, 4)[0][0].pids)


def test_rates_that_pairs_do_not_resolve(calibration):
    assert [row.rate for row in calibration.held.rates] == [0.01, 0.1]
    (unresolved,) = calibration.unresolved
    assert (unresolved.rate, unresolved.needed) == (0.001, 10_000) and unresolved.pairs == calibration.fitted.false
    with pytest.raises(InputError, match=r"0\.001: plaza gave no threshold for it, but for 0\.01, 0\.1; it has"):
        calibration.at(0.001)
    with pytest.raises(InputError, match=r"plaza: \d+ pairs of different people .* too few.* takes 10000000"):
        calibrate(*draw(6), ORIGIN, "plaza", (1e-6,))


def test_probability(calibration):
    threshold = calibration.at(0.1).threshold
    even = calibration.likelihood.probability(threshold)
    assert even == calibration.likelihood.probability(np.array([threshold]))[0]
    assert calibration.likelihood.probability(threshold, 0.01) < even
    for bad in (np.nan, np.inf):
        with pytest.raises(InputError, match="distance"):
            calibration.likelihood.probability(bad)


def test_json_comes_back_the_same(calibration):
    text = calibration.to_json()
    assert Calibration.from_json(text, "c.json") == calibration
    assert json.loads(text)["held"]["rates"][0]["rate"] == 0.01


def broken(calibration, change):
    values = json.loads(calibration.to_json())
    change(values)
    return json.dumps(values)


@pytest.mark.parametrize(
    ("change", "key"),
    [
        (lambda v: v.pop("likelihood"), "likelihood"),
        (lambda v: v.update(more=1), "more"),
        (lambda v: v.update(seed="0"), "seed"),
        (lambda v: v.update(fingerprint="abc"), "fingerprint"),
        (lambda v: v.update(distance="euclidean"), "distance"),
        (lambda v: v["likelihood"]["log_ratios"].pop(), "likelihood: .*as many distances"),
        (lambda v: v["likelihood"]["log_ratios"].reverse(), "likelihood: .*must rise"),
        (lambda v: v["likelihood"]["distances"].__setitem__(0, float("nan")), "likelihood.distances.0"),
        (lambda v: v["fitted"]["curve"]["fpir"].reverse(), "fitted.curve: .*no share"),
        (lambda v: v["fitted"]["curve"]["low"].pop(), "fitted.curve: .*as many of each"),
        (lambda v: v["targets"][0]["curve"]["distances"].__setitem__(0, 0), "'street': its curve has other distances"),
        (lambda v: v["held"]["rates"][0]["dir"].update(value=1.5), "held.rates.0.dir.value"),
        (lambda v: v["held"]["rates"].reverse(), "rates must rise"),
        (lambda v: v["held"].update(rates=[]), "rates must rise"),
        (lambda v: v["targets"][0]["rates"].pop(), "'street' has other rates"),
    ],
)
def test_damaged_json(calibration, change, key):
    with pytest.raises(InputError, match=rf"c\.json: not a calibration: .*{key}"):
        Calibration.from_json(broken(calibration, change), "c.json")


@pytest.mark.parametrize("text", ["", "[]", "{", "null", "\ud800", '{"seed": 1e999}', "[" * 100_000])
def test_what_is_no_calibration(text):
    with pytest.raises(InputError, match=r"c\.json: not a calibration"):
        Calibration.from_json(text, "c.json")


def test_a_file_of_an_earlier_version(calibration):
    with pytest.raises(InputError, match=r"c\.json: made by another version.*calibrate again"):
        Calibration.from_json(broken(calibration, lambda v: v.pop("version")), "c.json")


def test_another_models_calibration(calibration):
    calibration.check(replace(ORIGIN, name="elsewhere"), "c.json")
    with pytest.raises(InputError, match=r"c\.json: calibrated for 'runs/x' .* 'runs/y'"):
        calibration.check(OTHER, "c.json")


def test_bad_input():
    query, gallery = draw(12)
    for rates in ((), (0,), (1,), (0.1, 0.1), (float("nan"),)):
        with pytest.raises(InputError, match="false-match rates"):
            calibrate(query, gallery, ORIGIN, "plaza", rates)
    with pytest.raises(InputError, match="half of the people"):
        calibrate(*draw(2), ORIGIN, "plaza", (0.5,))
    own = calibrate(query, gallery, ORIGIN, "plaza", (0.1,))
    narrow = Features(np.ascontiguousarray(query.features[:, :3]), query.pids, query.camids, (), "narrow.npz")
    with pytest.raises(InputError, match=r"narrow\.npz has features of width 3"):
        measure(own, narrow, gallery, "street")
    backwards = Features(-gallery.features, gallery.pids, gallery.camids)
    with pytest.raises(InputError, match="no nearer"):
        calibrate(query, backwards, ORIGIN, "plaza", (0.1,))
