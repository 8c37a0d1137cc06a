"""Slow, obvious implementations that tests compare against."""

from __future__ import annotations

import numpy as np

from reid.retrieval.features import Features


def slow_evaluate(
    query: Features, gallery: Features, distance: str = "cosine", protocol: str = "cross-camera"
) -> tuple[list[float], list[float], list[int], list[list[int]]]:
    """AP, INP, first match rank (0: no match) and ranked gallery rows of every query, one comparison at a time.

    Distances are computed in exact-as-possible float64, one pair at a time; Python's sort is stable.
    """
    aps, inps, firsts, lists = [], [], [], []
    for q in range(len(query)):
        a = query.features[q].astype(np.float64)
        ranked = []
        for g in range(len(gallery)):
            junk = gallery.pids[g] == -1
            if junk or left_out(query, q, gallery, g, protocol):
                continue
            b = gallery.features[g].astype(np.float64)
            length = float(np.sqrt((a * a).sum() * (b * b).sum()))
            cosine = float((a * b).sum()) / (length or 1.0)
            ranked.append((1 - cosine if distance == "cosine" else float(((a - b) ** 2).sum()), g))
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


def left_out(query: Features, q: int, gallery: Features, g: int, protocol: str) -> bool:
    """Whether a gallery image is not compared with a query: one of its identity and camera, or its own image."""
    if protocol == "any-camera":
        return query.paths[q] == gallery.paths[g]
    return bool(gallery.pids[g] == query.pids[q] and gallery.camids[g] == query.camids[q])


def slow_rerank(query: np.ndarray, gallery: np.ndarray, k1: int, k2: int, weight: float) -> np.ndarray:
    """k-reciprocal re-ranking (Zhong et al. 2017) on dense matrices, set by set, ranked lists by a stable sort."""
    rows = np.concatenate([query, gallery]).astype(np.float64)
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    original = np.maximum(2 - 2 * unit @ unit.T, 0)
    ranked = np.argsort(original.round(9), axis=1, kind="stable")
    original = original / np.maximum(original.max(axis=1, keepdims=True), 1e-12)
    n = len(rows)

    def reciprocal(i: int, k: int) -> set[int]:
        return {int(c) for c in ranked[i, : k + 1] if i in ranked[c, : k + 1]}

    encoding = np.zeros((n, n))
    for i in range(n):
        own = reciprocal(i, k1)
        expanded = set(own)
        for c in own:
            half = reciprocal(c, round(k1 / 2))
            if len(half & own) > 2 / 3 * len(half):
                expanded |= half
        members = sorted(expanded)
        weights = np.exp(-original[i, members])
        encoding[i, members] = weights / weights.sum()
    if k2 > 1:
        encoding = np.stack([encoding[ranked[i, :k2]].mean(axis=0) for i in range(n)])
    out = np.empty((len(query), len(gallery)))
    for i in range(len(query)):
        for g in range(len(gallery)):
            shared = np.minimum(encoding[i], encoding[len(query) + g]).sum()
            out[i, g] = (1 - weight) * (1 - shared / (2 - shared)) + weight * original[i, len(query) + g]
    return out


def slow_trapezoid_ap(matches: list[bool]) -> float:
    """AP of one ranked list (True: a match; nothing left out in it) as Zheng et al.'s Matlab evaluator accumulates it:
    a trapezoid of recall and precision a ranked image, from precision 1 at recall 0."""
    wanted, found, area = sum(matches), 0, 0.0
    recall_before, precision_before = 0.0, 1.0
    for rank, match in enumerate(matches, start=1):
        found += match
        recall, precision = found / wanted, found / rank
        area += (recall - recall_before) * (precision_before + precision) / 2
        recall_before, precision_before = recall, precision
    return area


def slow_pk_epoch(labels: np.ndarray, p: int, k: int, seed: int, epoch: int) -> list[list[int]]:
    """The batches of a PKSampler: each walks the whole queue for the first P different identities that are left, and
    is filled up from all others."""
    rng = np.random.default_rng([seed, epoch, 0, 1])

    def deal(identity: int, groups: int) -> list[list[int]]:
        order = list(rng.permutation(members[identity])) * (k + 1)
        return [order[start : start + k] for start in range(0, groups * k, k)]

    members = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    groups = [max(1, len(images) // k) for images in members]
    shuffled = [deal(identity, groups[identity]) for identity in range(len(members))]
    queue = [
        (identity, turn)
        for turn in range(max(groups))
        for identity in rng.permutation([i for i in range(len(members)) if groups[i] > turn])
    ]
    batches = []
    for _ in range(-(-sum(groups) // p)):
        batch: dict[int, list[int]] = {}
        for identity, turn in list(queue):
            if len(batch) < p and identity not in batch:
                batch[identity] = shuffled[identity][turn]
                queue.remove((identity, turn))
        others = [i for i in range(len(members)) if i not in batch]
        for identity in rng.permutation(others)[: p - len(batch)]:
            batch[identity] = deal(identity, 1)[0]
        batches.append([int(index) for group in batch.values() for index in group])
    return batches
