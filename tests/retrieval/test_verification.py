import numpy as np
import pytest
from references import left_out
from sklearn.metrics import roc_curve

from reid.errors import InputError
from reid.retrieval import verification
from reid.retrieval.features import Features
from reid.retrieval.verification import verify


def problem(seed: int = 0) -> tuple[Features, Features]:
    rng = np.random.default_rng(seed)
    sides = []
    for n in (40, 150):
        pids = rng.integers(-1, 12, n)
        rows = rng.normal(size=(n, 6))
        rows[:, 0] += pids
        paths = tuple(f"{pid}/{rng.integers(5)}.jpg" for pid in pids)
        sides.append(Features(rows.astype(np.float32), pids, rng.integers(1, 4, n), paths))
    return sides[0], sides[1]


def pairs(query: Features, gallery: Features, distance: str, protocol: str) -> tuple[np.ndarray, np.ndarray]:
    """Distances and sameness of the pairs that count, one at a time."""
    distances, same = [], []
    for q in range(len(query)):
        for g in range(len(gallery)):
            person = query.pids[q] == gallery.pids[g]
            if query.pids[q] <= 0 or gallery.pids[g] == -1 or left_out(query, q, gallery, g, protocol):
                continue
            a, b = query.features[q].astype(float), gallery.features[g].astype(float)
            cosine = 1 - a @ b / np.sqrt((a @ a) * (b @ b))
            distances.append(cosine if distance == "cosine" else np.sqrt(((a - b) ** 2).sum()))
            same.append(person)
    return np.array(distances), np.array(same)


@pytest.mark.parametrize("distance", ["cosine", "euclidean"])
@pytest.mark.parametrize("protocol", ["cross-camera", "any-camera"])
@pytest.mark.parametrize("rows", [7, 40])
def test_equals_scikit_learns_curve(distance, protocol, rows, monkeypatch):
    monkeypatch.setattr(verification, "block_rows", lambda *_: rows)
    query, gallery = problem()
    distances, same = pairs(query, gallery, distance, protocol)
    fpr, tpr, _ = roc_curve(same, -distances, drop_intermediate=False)
    for point in verify(query, gallery, distance, (0.001, 0.01, 0.1, 1.0), protocol):
        best = np.flatnonzero(fpr <= point.wanted)[-1]
        assert point.false_positive_rate == pytest.approx(fpr[best]) and point.false_positive_rate <= point.wanted
        assert point.true_positive_rate == pytest.approx(tpr[best], abs=1e-6)
        for kind, rate in ((~same, point.false_positive_rate), (same, point.true_positive_rate)):  # float32 rounding
            low, high = (distances[kind] <= point.threshold + step for step in (-1e-5, 1e-5))
            assert low.mean() <= rate <= high.mean()


def test_bad_input():
    query, gallery = problem()
    for rate in (0, 1.5, float("nan")):
        with pytest.raises(InputError, match="false positive rates"):
            verify(query, gallery, rates=(rate,))
    alone = Features(np.ones((1, 6), np.float32), np.array([99]), np.array([1]))
    with pytest.raises(InputError, match="0 true and"):
        verify(alone, gallery)
