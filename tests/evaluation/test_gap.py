import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

from reid.errors import InputError
from reid.evaluation.gap import FOOTNOTE, METRICS, compare_models, gaps, trained_on
from reid.evaluation.interval import Term, estimate

FAST = {"resamples": 100}


def run(model, target, seed=0, source="market", queries=12, trials=1):
    """Rows of one run: random values of its own, the queries that all runs on the target share."""
    rng = np.random.default_rng([*map(ord, model + target + source), seed])
    count = queries * trials
    return pd.DataFrame(
        {
            "model": model,
            "source": source,
            "target": target,
            "seed": seed,
            "trial": np.repeat(np.arange(trials), queries),
            "path": [f"{target}/{number}.jpg" for number in range(queries)] * trials,
            "pid": np.tile(np.arange(queries) // 3 + 1, trials),
            "camid": 1,
            "ap": rng.random(count),
            "inp": rng.random(count),
            "first_rank": rng.integers(1, 4, count),
        }
    )


def table(models=("bn", "ibn"), targets=("market", "duke", "msmt"), seeds=(0, 1, 2), **keywords):
    return pd.concat([run(m, t, s, **keywords) for m in models for t in targets for s in seeds], ignore_index=True)


def values(queries, model, target, metric):
    """Values (S, Q) by plain filters; the rows of ``table`` stand in one order."""
    own = queries[(queries["model"] == model) & (queries["target"] == target)]
    if metric == "rank1":
        own = own.assign(rank1=own["first_rank"] == 1)
    column = {"mAP": "ap", "mINP": "inp", "rank1": "rank1"}[metric]
    return np.stack([rows[column].to_numpy(float) for _, rows in own.groupby("seed")])


def same_numbers(one, two):
    for name in ("value", "low", "high", "standard_error"):
        assert getattr(one, name) == pytest.approx(getattr(two, name), abs=1e-12)
    assert (one.method, one.seeds, one.identities) == (two.method, two.seeds, two.identities)


def test_every_pair_on_every_target_in_every_metric():
    queries = table(models=("bn", "ibn_a", "ibn_b"), targets=("market", "duke"))
    found = compare_models(queries, **FAST)
    assert [(c.model_a, c.model_b, c.target, c.metric) for c in found] == [
        (*pair, target, metric)
        for target in ("market", "duke")
        for pair in (("bn", "ibn_a"), ("bn", "ibn_b"), ("ibn_a", "ibn_b"))
        for metric in METRICS
    ]
    assert {(c.target, c.in_domain) for c in found} == {("market", True), ("duke", False)}


@pytest.mark.parametrize("seeds", [(0,), (0, 1, 2)])
@pytest.mark.parametrize("metric", METRICS)
def test_comparison_is_the_estimate_of_the_differences(seeds, metric):
    queries = table(seeds=seeds)
    (found,) = [c for c in compare_models(queries, **FAST) if (c.target, c.metric) == ("duke", metric)]
    a, b = (values(queries, model, "duke", metric) for model in ("bn", "ibn"))
    pids = np.arange(12) // 3 + 1
    same_numbers(found.estimate, estimate([Term(a - b, pids)], **FAST))
    assert found.estimate.value == pytest.approx(a.mean() - b.mean())
    means = [(one.mean(), two.mean()) for one, two in zip(a.T, b.T, strict=True)]
    assert found.better == sum(one > two + 1e-9 for one, two in means) / 12
    assert found.worse == sum(one < two - 1e-9 for one, two in means) / 12
    assert found.seeds == seeds and found.left_out == ()


def test_queries_are_matched_by_name_not_by_order():
    queries = table()
    mixed = queries.sample(frac=1, random_state=3)
    one, two = ({(c.model_a, c.target, c.metric): c for c in compare_models(q, **FAST)} for q in (queries, mixed))
    for key, found in one.items():
        model_a, *rest = key
        other = two[key] if key in two else two["ibn", *rest]
        sign = 1 if other.model_a == model_a else -1
        assert found.estimate.value == pytest.approx(sign * other.estimate.value)
        assert found.estimate.high == pytest.approx(other.estimate.high if sign == 1 else -other.estimate.low)


def test_identities_keep_together_all_their_trials():
    queries = table(trials=10, seeds=(0,))
    assert {c.estimate.identities for c in compare_models(queries, **FAST)} == {(4,)}


@pytest.mark.parametrize("metric", METRICS)
def test_gap_and_its_difference_by_hand(metric):
    queries = table()
    own, differences = gaps(queries, **FAST)
    assert len(own) == 2 * 2 * 3 and len(differences) == 2 * 3
    gap = {g.model: g for g in own if (g.target, g.metric) == ("msmt", metric)}
    (difference,) = [d for d in differences if (d.target, d.metric) == ("msmt", metric)]
    pids = np.arange(12) // 3 + 1
    bn, ibn = ([values(queries, model, target, metric) for target in ("market", "msmt")] for model in ("bn", "ibn"))
    same_numbers(gap["bn"].estimate, estimate([Term(bn[0], pids), Term(bn[1], pids, -1)], **FAST))
    terms = [Term(bn[0] - ibn[0], pids), Term(bn[1] - ibn[1], pids, -1)]
    same_numbers(difference.estimate, estimate(terms, **FAST))
    assert gap["bn"].estimate.value == pytest.approx(bn[0].mean() - bn[1].mean())
    assert difference.estimate.value == pytest.approx(gap["bn"].estimate.value - gap["ibn"].estimate.value)
    assert difference.estimate.identities == (4, 4)


def test_a_source_of_two_data_sets_is_in_domain_on_their_mean():
    queries = table(models=("bn",), source="market+duke")
    own, differences = gaps(queries, **FAST)
    assert {g.target for g in own} == {"msmt"} and not differences
    means = {target: values(queries, "bn", target, "mAP").mean() for target in ("market", "duke", "msmt")}
    assert own[0].estimate.value == pytest.approx((means["market"] + means["duke"]) / 2 - means["msmt"])
    assert own[0].estimate.identities == (4, 4, 4)


def test_sources_are_kept_apart_and_one_without_both_domains_has_no_gap():
    queries = pd.concat(
        [
            table(targets=("market", "duke")),
            table(models=("ibn",), targets=("market", "duke"), source="duke"),
            table(targets=("market",), source="msmt"),
        ]
    )
    own, differences = gaps(queries, **FAST)
    assert {(g.model, g.source, g.target) for g in own} == {
        ("bn", "market", "duke"), ("ibn", "market", "duke"), ("ibn", "duke", "market"),
    }  # fmt: skip
    assert {(d.source, d.target) for d in differences} == {("market", "duke")}


def test_what_is_in_domain_can_be_said_otherwise():
    own, _ = gaps(table(), in_domain=lambda source, target: target == "duke", **FAST)
    assert {g.target for g in own} == {"market", "msmt"}
    assert trained_on("market+duke", "duke") and not trained_on("market1501", "market")


def test_seeds_of_only_one_model_are_left_out_and_said_so():
    queries = table()
    fewer = queries[(queries["model"] == "bn") | (queries["seed"] != 1)]
    for found in (*compare_models(fewer, **FAST), *gaps(fewer, **FAST)[1]):
        assert (found.seeds, found.left_out, found.estimate.seeds) == ((0, 2), (1,), 2)
    kept = [c.estimate for c in compare_models(table(seeds=(0, 2)), **FAST)]
    assert [c.estimate for c in compare_models(fewer, **FAST)] == kept
    by_model = {g.model: g.seeds for g in gaps(fewer, **FAST)[0]}
    assert by_model == {"bn": (0, 1, 2), "ibn": (0, 2)}


def without(queries, **labels):
    return queries[~np.logical_and.reduce([queries[name] == label for name, label in labels.items()])]


def renamed(queries):
    queries = queries.copy()
    queries.loc[(queries["model"] == "ibn") & (queries["path"] == "duke/4.jpg"), "path"] = "duke/new.jpg"
    return queries


def repeated(queries):
    return pd.concat([queries, queries[(queries["seed"] == 1) & (queries["target"] == "duke")].tail(2)])


def of_another_person(queries):
    queries = queries.copy()
    queries.loc[(queries["seed"] == 2) & (queries["path"] == "msmt/0.jpg"), "pid"] = 9
    return queries


def with_a_hole(queries):
    return queries.assign(ap=queries["ap"].where(queries.index > 2))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda q: q.drop(columns=["inp", "camid"]), r"no columns \['camid', 'inp'\]"),
        (lambda q: q[:0], "is empty"),
        (with_a_hole, "column 'ap' lacks 3 values"),
        (lambda q: without(q, model="ibn", target="duke"), r"source market: no seed in common.*ibn on duke: none"),
        (lambda q: q[(q["model"] == "bn") == (q["seed"] == 0)], r"bn on market: \[0\];.* ibn on market: \[1, 2\]"),
        (lambda q: without(q, seed=1, target="duke", path="duke/7.jpg"), r"seed 0\) and bn .*1 only in the former, 0 "),
        (renamed, r"bn \(source market, target duke, seed 0\) and ibn .*1 only in the former, 1 only in the latter"),
        (repeated, r"ibn \(source market, target duke, seed 1\): 2 queries stand twice in the table.*duke/10.jpg"),
        (of_another_person, "1 queries have another identity in each, such as msmt/0.jpg"),
        (lambda q: q.assign(pid=1), "source market, target .*, model.* bn.*: term 1: has 1 identities"),
    ],
)
@pytest.mark.parametrize("function", [compare_models, gaps])
def test_bad_tables(function, spoil, message):
    with pytest.raises(InputError, match=message):
        function(spoil(table()), **FAST)


def test_table_read_back_from_parquet_gives_the_same(tmp_path):
    queries = table(seeds=(0,))
    queries.to_parquet(tmp_path / "queries.parquet")
    again = compare_models(pd.read_parquet(tmp_path / "queries.parquet"), **FAST)
    first = compare_models(queries, **FAST)
    assert_allclose([c.estimate.low for c in again], [c.estimate.low for c in first])


def test_footnote_says_what_the_intervals_do_not():
    assert "not corrected for the number of comparisons" in FOOTNOTE
    assert "with one seed it holds for these trained networks, not for the method" in FOOTNOTE
