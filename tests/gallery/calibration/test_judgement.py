"""Words, strangers and probabilities on features that are drawn, against plain loops and against what is promised."""

import json
from dataclasses import asdict, replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from labelled import draw, pairs_by_loops

from reid.errors import InputError
from reid.gallery.calibration.judgement import LIKELY, Judge, carried, compare, percent
from reid.gallery.calibration.rates import Curve
from reid.gallery.calibration.thresholds import Calibration, calibrate, halves, measure
from reid.networks import Origin

ORIGIN = Origin("runs/x", 8, "network", "resize")
PEOPLE, SPREAD = 120, 0.4  # 60 fitted: 180 queries, some 354 entries of other people


@pytest.fixture(scope="module")
def calibration() -> Calibration:
    own = calibrate(*draw(PEOPLE, spread=SPREAD), ORIGIN, "plaza", (0.001, 0.01))
    return replace(own, targets=(measure(own, *draw(30, 9, 0.8), "street"),))


def strangers_and_pairs(half: int) -> tuple[np.ndarray, list[tuple[int, int, float, bool]]]:
    """Of a half of the fixture's people: distance of each query's nearest entry of another person; all pairs."""
    query, gallery = halves(*draw(PEOPLE, spread=SPREAD), 0)[half]
    pairs = pairs_by_loops(query, gallery)
    nearest = np.full(len(query), np.inf)
    for q, _, distance, same in pairs:
        if not same:
            nearest[q] = min(nearest[q], distance)
    return nearest, pairs


def test_curves_equal_plain_loops(calibration):
    for half, curve in enumerate((calibration.fitted.curve, calibration.held.curve)):
        nearest, pairs = strangers_and_pairs(half)
        true, false = (np.array([d for _, _, d, same in pairs if same == kind]) for kind in (True, False))
        assert (curve.queries, curve.entries) == (len(nearest), pytest.approx(len(false) / len(nearest), rel=1e-5))
        for n, limit in enumerate(curve.distances):
            shares = (curve.fpir[n], curve.true_match[n], curve.false_match[n])
            expected = [(values <= limit).mean() for values in (nearest, true, false)]
            assert shares == pytest.approx(expected, rel=1e-5)
            assert curve.low[n] <= curve.fpir[n] <= curve.high[n]


def test_near_is_where_no_more_than_the_wanted_share_of_strangers_is(calibration):
    nearest, _ = strangers_and_pairs(0)
    curve = calibration.fitted.curve
    judge = Judge(calibration, round(curve.entries) + 1, share=0.1)
    place = curve.distances.index(judge.near)
    assert curve.high[place] <= 0.1 < curve.high[place + 2]
    assert (nearest <= judge.near).mean() == pytest.approx(curve.fpir[place]) and 0.02 < curve.fpir[place] < 0.1
    assert judge.least_share == pytest.approx(10 / 180, rel=0.02)
    held = (strangers_and_pairs(1)[0] <= judge.near).mean()
    assert [where for where, _ in judge.met] == ["plaza, held half", "street"]
    met = judge.met[0][1]
    assert met.value == pytest.approx(held, rel=0.02) and met.low <= held <= met.high


def test_far_is_where_hardly_any_pair_of_one_person_lies(calibration):
    true = np.array([distance for _, _, distance, same in strangers_and_pairs(0)[1] if same])
    judge = Judge(calibration, 300)
    assert LIKELY <= (true <= judge.far).mean() < LIKELY + 0.02


def test_the_more_entries_the_nearer(calibration):
    judges = [Judge(calibration, entries, share=0.2) for entries in (1, 20, 100, 354, 500, 1000)]
    limits = [judge.near for judge in judges if judge.near is not None]
    assert len(limits) == 6 and all(a >= b for a, b in pairwise(limits))
    assert all(judge.near <= judge.far for judge in judges)


def test_more_entries_than_calibrated_strangers_tell(calibration):
    judge = Judge(calibration, 5000)
    assert judge.near is None and judge.met == () and judge.word(0.0) == "cannot tell" and judge.word(1.9) == "far"
    assert "Nothing is called near: 180 queries and 35" in judge.sentences[0]
    enough = Judge(calibration, 5000, share=judge.least_share)
    assert enough.near is not None and Judge(calibration, 5000, share=judge.least_share - 1e-6).near is None


def test_where_one_person_ends_before_strangers_begin():
    """A network that tells nearly all apart: what lies between is neither near nor far."""
    sure = calibrate(*draw(PEOPLE, spread=0.05), ORIGIN, "plaza", (0.01,))
    judge = Judge(sure, 300, share=0.5)
    curve = sure.fitted.curve
    true, fpir = (np.interp([judge.near, judge.far], curve.distances, each) for each in (curve.true_match, curve.fpir))
    assert judge.near < judge.far and true[0] == pytest.approx(LIKELY, abs=0.02) and fpir[0] <= fpir[1] <= 0.5
    assert judge.word((judge.near + judge.far) / 2) == "cannot tell"


def test_numbers_of_strangers_are_entries_times_the_rate(calibration):
    false = np.array([distance for _, _, distance, same in strangers_and_pairs(0)[1] if not same])
    judge = Judge(calibration, 700)
    for distance in (0.3, 0.6, 1.0, 1.5):
        expected = 700 * max((false <= distance).mean(), 3 / len(false))
        assert judge.judge(distance).strangers == pytest.approx(expected, rel=0.15)
    assert judge.judge(0.0).sentence == "of 700 images of other people fewer than 1 would come this near"
    assert replace(judge, entries=10**6).judge(0.0).sentence.startswith("of 1,000,000 images of other people fewer th")
    assert judge.judge(1.9).sentence.startswith("of 700 images of other people about ")


def test_probability_is_bayes_and_known_people_only(calibration):
    judge = Judge(calibration, 700, 70)
    assert Judge(calibration, 700).judge(0.2).probability is None
    for distance in (0.1, 0.3, 0.5):
        even = calibration.likelihood.probability(distance)
        odds = even / (1 - even) * (0.5 / 70) / (1 - 0.5 / 70)
        assert judge.judge(distance).probability == pytest.approx(odds / (1 + odds))


@given(st.lists(st.floats(-0.01, 2.01), min_size=2, max_size=9), st.integers(0, 2000), st.sampled_from([None, 0.01]))
def test_all_falls_with_distance(calibration, distances, entries, rate):
    judge = Judge(calibration, entries, min(entries, 50) or None, rate=rate)
    found = [judge.judge(distance) for distance in sorted(distances)]
    words = ["near", "cannot tell", "far"]
    for a, b in pairwise(found):
        assert words.index(a.word) <= words.index(b.word) and a.strangers <= b.strangers and a.shade >= b.shade
        assert a.probability is None or a.probability >= b.probability
    assert all(0 <= each.shade <= 1 and 0 <= each.strangers <= entries for each in found)


@given(st.lists(st.floats(0, 1), min_size=2, max_size=6), st.integers(0, 5000), st.integers(0, 5000))
def test_carried_rises_with_entries_and_is_itself_there(shares, fewer, more):
    fpir = np.sort(shares)
    unit = (0.0,) * len(fpir)
    curve = Curve(tuple(np.arange(len(fpir)) + 0.0), unit, unit, unit, unit, unit, 100, 300.0)
    few, many = (carried(curve, fpir, fpir, fpir / 100, entries) for entries in sorted((fewer, more)))
    assert (few <= many + 1e-12).all() and (np.diff(few) >= -1e-12).all() and (many <= 1).all()
    assert carried(curve, fpir, fpir, fpir / 100, 300) == pytest.approx(fpir, abs=1e-9)


def test_people_of_a_kind_are_carried_over_truly():
    """Twelve times the people, drawn anew: as many strangers find someone as was carried over."""
    small = calibrate(*draw(80, 1, 0.3), ORIGIN, "plaza", (0.01,))
    limit = small.fitted.curve.distances[int(np.searchsorted(small.fitted.curve.fpir, 0.15))]
    large = measure(small, *draw(480, 2, 0.3), "larger").curve
    curve = small.fitted.curve
    fpir, false = (np.array(np.interp(limit, curve.distances, each)) for each in (curve.fpir, curve.false_match))
    expected = carried(curve, fpir, fpir, false, round(large.entries))
    assert np.interp(limit, large.distances, large.fpir) <= expected + 0.1


def test_a_rate_that_is_asked_for(calibration):
    judge = Judge(calibration, 700, rate=0.01)
    assert judge.near == min(calibration.at(0.01).threshold, judge.far)
    assert "the threshold for 1 % of the pairs of two people" in judge.sentences[0]


def test_a_list_and_two_images_in_words(calibration):
    judge = Judge(calibration, 300, 60, share=0.1)
    found = judge.sentences_of([judge.word(distance) for distance in (judge.near, judge.far, 1.9, 1.95)])
    assert found[0] == "1 near, 1 cannot be told, 2 far." and found[1:] == judge.sentences
    assert "each of the 60 people" in found[3] and "No percentages" in Judge(calibration, 300).sentences[2]
    assert judge.sentences_of(["far", "far"])[0].startswith("Nobody") and judge.sentences_of([])[0].startswith("Nobody")
    two, held = compare(calibration, 0.1), calibration.held.curve
    assert two.word == "near" and two.probability == calibration.likelihood.probability(0.1)
    false, true = (np.interp(0.1, held.distances, each) for each in (held.false_match, held.true_match))
    assert f"{percent(false)} of the pairs of two people lie as near and {percent(true)} of" in two.sentences[1]
    assert compare(calibration, 1.9).word == "far" and "if as likely as not" in two.sentences[0]
    for said in (two, judge.judge(0.2), judge.met[0][1]):
        assert json.loads(json.dumps(asdict(said), allow_nan=False))


def test_bad_input(calibration):
    for change, message in (({"share": 0}, "share 0"), ({"share": 1}, "share 1"), ({"people": 0}, "0 people"),
                            ({"people": 11}, "11 people in 10 entries"), ({"entries": -1}, "-1 entries"),
                            ({"rate": 0.5}, r"0\.5: plaza gave no threshold")):  # fmt: skip
        with pytest.raises(InputError, match=message):
            Judge(calibration, **{"entries": 10} | change)
    for call in (Judge(calibration, 10).judge, Judge(calibration, 10).word, lambda d: compare(calibration, d)):
        with pytest.raises(InputError, match="distance nan"):
            call(float("nan"))
