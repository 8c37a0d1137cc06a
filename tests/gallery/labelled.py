"""Labelled features for the tests of thresholds, and what their pairs are, one at a time."""

import numpy as np

from reid.retrieval.features import Features


def draw(people: int, seed: int = 0, spread: float = 0.5, first: int = 1, width: int = 8) -> tuple[Features, Features]:
    """Queries and a gallery of ``people``, with junk and distractors in both."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(people, width))
    sides = []
    for images in (3, 6):
        pids = np.repeat(np.arange(people), images)
        rows = centres[pids] + spread * rng.normal(size=(len(pids), width))
        extra = rng.normal(size=(4, width))
        features = np.concatenate([rows, extra]).astype(np.float32)
        all_pids = np.concatenate([pids + first, [0, -1, 0, -1]])
        order = rng.permutation(len(features))
        camids = rng.integers(1, 4, len(features))
        sides.append(Features(features[order], all_pids[order], camids, (), "drawn"))
    return sides[0], sides[1]


def distance(a: np.ndarray, b: np.ndarray) -> float:
    a, b = a.astype(float), b.astype(float)
    return float(1 - a @ b / np.sqrt((a @ a) * (b @ b)))


def pairs_by_loops(query: Features, gallery: Features) -> list[tuple[int, int, float, bool]]:
    """(query, entry, distance, same) of the pairs that count."""
    found = []
    for q in range(len(query)):
        for g in range(len(gallery)):
            same = query.pids[q] == gallery.pids[g]
            if query.pids[q] <= 0 or gallery.pids[g] == -1 or (same and query.camids[q] == gallery.camids[g]):
                continue
            found.append((q, g, distance(query.features[q], gallery.features[g]), bool(same)))
    return found
