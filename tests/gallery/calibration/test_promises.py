"""Is what is said so? On people to whom nothing was fitted: drawn ones, and PKU-Reid where it is there."""

import os
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT

from reid.data.card import load_card
from reid.data.images import read_image
from reid.data.reading import read_dataset
from reid.gallery.calibration.fitted import fit_unlike
from reid.gallery.calibration.judgement import Judge
from reid.gallery.calibration.thresholds import Calibration, calibrate, halves
from reid.gallery.ingest.images import labelled
from reid.networks import load
from reid.retrieval.features import Features
from reid.sites.drawn.nothing import pictures

SHARED = Path(os.environ.get("REID_SHARED", ROOT.parent / "shared")) / "data"
CARDS = 24  # of each query
SEEDS = (0, 1, 2)


def drawn(tmp_path) -> tuple[Features, Features, None]:
    arrays = np.load(ROOT / "tests" / "data" / "drawn_people.npz")
    query, gallery = (
        Features(
            arrays[side].astype(np.float32), *(arrays[f"{side}_{what}"].astype(np.int64) for what in ("pids", "camids"))
        )
        for side in ("query", "gallery")
    )
    return query, gallery, None


@cache
def pku_reid(tmp_path) -> tuple[Features, Features, np.ndarray]:
    if not (SHARED / "pku_reid").is_dir():
        pytest.skip("PKU-Reid is not beside the checkout")
    network = load("people")
    data = read_dataset(load_card("pku_reid_all"), SHARED, tmp_path)
    query, gallery = labelled(data, network, [], progress=False)
    return query, gallery, network.embed(pictures())


@pytest.fixture(scope="module")
def sites(tmp_path_factory):
    return tmp_path_factory.mktemp("sites")


@pytest.fixture(scope="module", params=[drawn, pku_reid])
def place(request, sites):
    query, gallery, nothing = request.param(sites)
    return [
        (calibrate(query, gallery, load("people").origin, "here", (0.01,), seed, nothing), Held(query, gallery, seed))
        for seed in SEEDS
    ]


class Held:
    """The held half: (Q, N) distances, infinite for what a query is not compared with, and whether of one person."""

    def __init__(self, query: Features, gallery: Features, seed: int) -> None:
        query, gallery = halves(query, gallery, seed)[1]
        rows = [f.features.astype(float) / np.linalg.norm(f.features, axis=1, keepdims=True) for f in (query, gallery)]
        same = query.pids[:, None] == gallery.pids
        junk = same & (query.camids[:, None] == gallery.camids)
        self.distances, self.same = np.where(junk, np.inf, 1 - rows[0] @ rows[1].T), same & ~junk
        self.pids = gallery.pids
        self.strangers = np.where(same, np.inf, self.distances)  # each query's person left out

    def people(self) -> int:
        return len(np.unique(self.pids[self.pids > 0]))


def cards(calibration: Calibration, held: Held) -> tuple[np.ndarray, np.ndarray]:
    """Of all queries' cards, their person there and left out: the probability stated, and whether it is so."""
    judge = Judge(calibration, len(held.pids), held.people())
    said, right = [], []
    for distances in (held.distances, held.strangers):
        for row, same in zip(distances, held.same, strict=True):
            nearest = [n for n in np.argsort(row, kind="stable")[:CARDS] if np.isfinite(row[n])]
            said += [judge.judge(row[n]).probability for n in nearest]
            right += [same[n] for n in nearest]
    return np.array(said), np.array(right)


def test_of_the_cards_that_say_p_about_p_are_right(place):
    both = [cards(calibration, held) for calibration, held in place]
    said, right = (np.concatenate(values) for values in zip(*both, strict=True))
    bins = np.minimum((10 * said).astype(int), 9)
    errors = [abs(said[bins == n].mean() - right[bins == n].mean()) for n in np.unique(bins)]
    counts = np.bincount(bins)[np.unique(bins)]
    assert (errors * counts).sum() / len(said) <= 0.05
    sure = said >= 0.8
    assert sure.sum() > 50 and abs(said[sure].mean() - right[sure].mean()) <= 0.1


def test_of_strangers_no_more_than_the_wanted_share_finds_someone_near(place):
    """In a gallery as large as calibrated on, over drawings of the halves and in each as far as its interval says;
    and in galleries of a third of the people."""
    all_found, all_wanted = [], []
    for calibration, held in place:
        entries = round(calibration.fitted.curve.entries)
        share = max(0.05, Judge(calibration, entries).least_share)
        judge = Judge(calibration, entries, share=share)
        found = (held.strangers.min(axis=1) <= judge.near).mean()
        met = judge.met[0][1]
        assert found == pytest.approx(met.value, abs=0.02) and met.low <= share
        all_found.append(found)
        all_wanted.append(share)
        few = Judge(calibration, entries // 3, share=share)
        rng, shares = np.random.default_rng(0), []
        for _ in range(30):
            some = np.isin(held.pids, rng.permutation(np.unique(held.pids))[: held.people() // 3])
            shares.append((held.strangers[:, some].min(axis=1) <= few.near).mean())
        assert np.mean(shares) <= max(few.met[0][1].high, share)
    assert np.mean(all_found) <= np.mean(all_wanted)


def test_numbers_of_strangers_are_met(place):
    """Over queries, as many entries of other people come near as is said, within the half."""
    for calibration, held in place:
        for entries_near in (1, 5):
            judge = Judge(calibration, round(calibration.fitted.curve.entries))
            distance = np.quantile(held.strangers[np.isfinite(held.strangers)], entries_near / judge.entries)
            assert judge.judge(distance).strangers == pytest.approx(entries_near, rel=0.7)


def test_pictures_without_people_are_told(sites):
    """Strips from beside people, and pictures of kinds that the direction is from; people seldom."""
    query, gallery, nothing = pku_reid(sites)
    network = load("people")
    cut = fit_unlike(*halves(query, gallery, 0), nothing)
    assert cut.met <= 0.03 and cut.caught >= 0.85
    assert cut.says(network.embed(pictures(seed=1))).mean() >= 0.85
    files = sorted((SHARED / "pku_reid").glob("*.png"))[::12]
    strips = [read_image(file)[:, :8] for file in files]
    assert cut.says(network.embed(strips)).mean() >= 0.7
