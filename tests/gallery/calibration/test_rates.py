import numpy as np
import pytest
from labelled import draw, pairs_by_loops
from scipy import sparse

from reid.errors import InputError
from reid.gallery.calibration import rates
from reid.gallery.calibration.fitted import Likelihood
from reid.gallery.calibration.rates import BINS, Reliability, measure_at
from reid.retrieval.features import Features
from reid.retrieval.ranking import evaluate

CHANCES = Likelihood((0.1, 0.8), (3.0, -4.0))
POINTS = [0.05, 0.2, 0.5, 1.0]
LIMITS = [(0.01, 0.1), (0.1, 0.3), (0.5, 0.9)]


def features(angles, pids, camids):
    """On a circle, angles in degrees: distance 1 - cos of the difference."""
    turned = np.radians(angles)
    rows = np.stack([np.cos(turned), np.sin(turned)], axis=1).astype(np.float32)
    return Features(rows, np.array(pids), np.array(camids), (), "circle")


def test_by_hand():
    """Two people and a distractor at 65 degrees; the threshold lies at 24 degrees."""
    query = features([0, 90, 45], [1, 2, 1], [1, 1, 1])
    gallery = features([10, 30, 0, 80, 65], [1, 2, 1, 2, 0], [2, 2, 1, 2, 2])
    found = measure_at([(0.1, float(1 - np.cos(np.radians(24))))], POINTS, CHANCES, query, gallery, "hand", 0)
    row = found.rates[0]
    assert (found.people, found.queries, found.entries) == (2, 3, 5)
    # 0 against 30 80 65, 90 against 10 0 65, 45 against 30 80 65: two of the last are near enough
    assert row.false_match.count == 9 and row.false_match.value == pytest.approx(2 / 9)
    assert row.fpir.count == 3 and row.fpir.value == pytest.approx(1 / 3)
    # 0 against 10, 90 against 30 80, 45 against 10
    assert row.true_match.count == 4 and row.true_match.value == pytest.approx(2 / 4)
    assert row.dir.count == 3 and row.dir.value == pytest.approx(2 / 3)  # nearest to 45 is a stranger


@pytest.mark.parametrize("block", [30, 2**21])
def test_equals_plain_loops(block, monkeypatch):
    monkeypatch.setattr(rates, "BLOCK", block)
    query, gallery = draw(7)
    pairs = pairs_by_loops(query, gallery)
    found = measure_at(LIMITS, POINTS, CHANCES, query, gallery, "drawn", 0)
    for (rate, limit), row in zip(LIMITS, found.rates, strict=True):
        assert (row.rate, row.threshold) == (rate, limit)
        for share, same in ((row.true_match, True), (row.false_match, False)):
            distances = [pair[2] for pair in pairs if pair[3] == same]
            assert share.count == len(distances)
            assert share.value == pytest.approx(np.mean([d <= limit for d in distances]))
        alarms, right = [], []
        for q in {pair[0] for pair in pairs}:
            own = sorted((pair[2], pair[1], pair[3]) for pair in pairs if pair[0] == q)
            alarms.append(any(d <= limit for d, _, same in own if not same))
            if any(same for _, _, same in own):
                right.append(own[0][2] and own[0][0] <= limit)
        assert row.fpir.count == len(alarms) and row.fpir.value == pytest.approx(np.mean(alarms))
        assert row.dir.count == len(right) and row.dir.value == pytest.approx(np.mean(right))


def test_without_a_limit_dir_is_rank_1():
    query, gallery = draw(12, seed=4, spread=0.9)
    row = measure_at([(0.5, 3.0)], POINTS, CHANCES, query, gallery, "drawn", 0).rates[0]
    assert row.dir.value == pytest.approx(evaluate(query, gallery).cmc[0])
    assert row.false_match.value == row.true_match.value == row.fpir.value == 1


def test_ties_keep_gallery_order():
    gallery = features([5, 5, 60], [1, 2, 2], [2, 2, 2])
    query = features([0, 0], [1, 2], [1, 1])
    assert measure_at([(0.5, 1.0)], POINTS, CHANCES, query, gallery, "tie", 0).rates[0].dir.value == 0.5


def test_intervals_hold_the_share_and_are_repeatable():
    query, gallery = draw(15)
    first, again, other = (measure_at(LIMITS, POINTS, CHANCES, query, gallery, "drawn", seed) for seed in (0, 0, 1))
    assert first == again and first != other
    for row in first.rates:
        for share in (row.false_match, row.true_match, row.fpir, row.dir):
            assert 0 <= share.low <= share.value <= share.high <= 1
    assert first.rates[1].true_match.low < first.rates[1].true_match.high


def test_resampled_false_matches_equal_the_people_written_out():
    """A person drawn twice stands there twice; pairs of two copies of one person do not count."""
    rng = np.random.default_rng(5)
    wrong = rng.integers(0, 4, (5, 5))
    np.fill_diagonal(wrong, 0)
    wrong[4] = 0  # the last place is the distractors': they ask nothing
    asked, kept = np.array([2.0, 1, 3, 2, 0]), np.array([1.0, 2, 4, 3, 5])
    drawn = rng.integers(0, 4, (6, 4))
    weights = np.stack([[*np.bincount(row, minlength=4), 1] for row in drawn]).astype(float)
    expected = []
    for row in drawn:
        hits = of = 0
        for a in row:
            for b in [*row, 4]:
                if a != b:
                    hits, of = hits + wrong[a, b], of + asked[a] * kept[b]
        expected.append(hits / of)
    share = rates._false_share(sparse.csr_array(wrong.astype(float)), asked, kept, weights)
    assert (share.low, share.high) == pytest.approx(tuple(np.quantile(expected, [0.025, 0.975])))
    assert share.value == pytest.approx(wrong.sum() / share.count)


def test_distractor_images_are_strangers_of_all():
    query = features([0, 90], [1, 2], [1, 1])
    gallery = features([2, 88, 1], [1, 2, 0], [2, 2, 2])
    row = measure_at([(0.1, 0.01)], POINTS, CHANCES, query, gallery, "x", 0).rates[0]
    assert row.false_match.count == 4 and row.false_match.value == 0.25 and row.dir.value == 0.5


def test_bad_input():
    query, gallery = draw(3)
    lone = features([0, 1], [1, 1], [1, 2])
    junk = features([0, 1], [-1, -1], [1, 2])
    two = features([0, 1], [1, 2], [1, 1])
    narrow = features([0], [1], [1])
    for pair, message in (((lone, lone), "two people"), ((junk, two), "no image is left"), ((two, junk), "no image"),
                          ((two, two), "another camera"), ((narrow, gallery), "width")):  # fmt: skip
        with pytest.raises(InputError, match=message):
            measure_at(LIMITS, POINTS, CHANCES, *pair, "bad", 0)
    zero = Features(query.features * 0, query.pids, query.camids, (), "zeros.npz")
    with pytest.raises(InputError, match=r"zeros\.npz: row 0"):
        measure_at(LIMITS, POINTS, CHANCES, zero, gallery, "bad", 0)


def test_reliability_by_hand():
    """Logit 0 at distance 1: 0.5 there, 1 / (1 + e) at 2."""
    reliability = Reliability(Likelihood((0.0, 4.0), (1.0, -3.0)))
    reliability.add(np.array([1.0, 1.0, 1.0, 2.0]), true=True)
    reliability.add(np.array([1.0, 2.0]), true=False)
    reliability.add(np.array([2.0, 2.0]), true=False)
    (low, middle), error = reliability.bins()
    far = 1 / (1 + np.e)
    assert (low.true, low.false, middle.true, middle.false) == (1, 3, 3, 1)
    assert (low.predicted, low.met) == pytest.approx((far, 0.25))  # 1/4 of the true, 3/4 of the false
    assert (middle.predicted, middle.met) == pytest.approx((0.5, 0.75))
    assert error == pytest.approx((abs(far - 0.25) + 0.25) / 2)


def test_reliability_equals_a_loop():
    rng = np.random.default_rng(3)
    kinds = {True: rng.uniform(0, 1, 50), False: rng.uniform(0.2, 1.5, 400)}
    reliability = Reliability(CHANCES)
    for true, distances in kinds.items():
        reliability.add(distances, true)
    sums = {n: [0.0, 0.0, 0.0] for n in range(BINS)}
    for true, distances in kinds.items():
        for distance in distances:
            predicted = float(CHANCES.probability(np.array(distance)))
            own = sums[min(int(predicted * BINS), BINS - 1)]
            for place, value in enumerate((1.0, predicted, float(true))):
                own[place] += value / len(distances) / 2
    bins, error = reliability.bins()
    used = [own for own in sums.values() if own[0]]
    assert [b.predicted for b in bins] == pytest.approx([own[1] / own[0] for own in used])
    assert [b.met for b in bins] == pytest.approx([own[2] / own[0] for own in used])
    assert error == pytest.approx(sum(abs(own[1] - own[2]) for own in used))
    assert sum(b.true for b in bins) == 50 and sum(b.false for b in bins) == 400
