"""Slow, obvious implementations that tests compare against."""

from __future__ import annotations

import numpy as np

from reid.retrieval.features import Features


def slow_evaluate(query: Features, gallery: Features) -> tuple[list[float], list[float], list[int], list[list[int]]]:
    """AP, INP, first match rank (0: no match) and ranked gallery rows of every query, one comparison at a time.

    Cosine distances are computed in exact-as-possible float64, one pair at a time; Python's sort is stable.
    """
    aps, inps, firsts, lists = [], [], [], []
    for q in range(len(query)):
        a = query.features[q].astype(np.float64)
        ranked = []
        for g in range(len(gallery)):
            junk = gallery.pids[g] == -1
            own_camera = gallery.pids[g] == query.pids[q] and gallery.camids[g] == query.camids[q]
            if junk or own_camera:
                continue
            b = gallery.features[g].astype(np.float64)
            length = float(np.sqrt((a * a).sum() * (b * b).sum()))
            ranked.append((1 - float((a * b).sum()) / (length or 1.0), g))
        ranked.sort(key=lambda pair: pair[0])
        found = [query.pids[q] > 0 and gallery.pids[g] == query.pids[q] for _, g in ranked]
        ranks = [place for place, match in enumerate(found, start=1) if match]
        lists.append([g for _, g in ranked])
        if not ranks:
            aps.append(float("nan")), inps.append(float("nan")), firsts.append(0)
            continue
        aps.append(sum(count / rank for count, rank in enumerate(ranks, start=1)) / len(ranks))
        inps.append(len(ranks) / ranks[-1])
        firsts.append(ranks[0])
    return aps, inps, firsts, lists
