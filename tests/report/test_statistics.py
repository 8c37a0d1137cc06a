"""The tables of differences against the functions that compute one, and what "best" means, by hand."""

import dataclasses
import math

import pandas as pd
import pytest

from reid.evaluation import gap
from reid.report import statistics
from reid.report.statistics import drops, means


def test_differences_are_those_of_the_queries(benchmark):
    frame, _ = statistics.comparisons(benchmark)
    assert list(frame["metric"][:3]) == ["mAP", "rank1", "mINP"] and len(frame) == 12
    assert set(frame["model_a"]) == {"ibn_b"} and list(frame["in_domain"]) == [True] * 6 + [False] * 6
    for row in frame.itertuples():
        own = benchmark.queries.query("source == @row.source and target == @row.target")
        values = {"mAP": own["ap"], "rank1": own["first_rank"] == 1, "mINP": own["inp"]}[row.metric]
        means = values.groupby([own["model"], own["path"]]).mean()
        difference = means["ibn_b"] - means["bn"]
        assert row.value == pytest.approx(difference.mean())
        assert row.low <= row.value <= row.high and row.significant == (row.low > 0 or row.high < 0)
        assert row.better == pytest.approx((difference > 1e-12).mean())
        assert row.worse == pytest.approx((difference < -1e-12).mean())
        assert row.seeds == 2 and row.identities == "8"


def test_turning_a_pair_turns_everything():
    row = {"model_a": "x", "model_b": "y", "value": 1, "low": 0.5, "high": 2, "better": 0.7, "worse": 0.2}
    turned = {"model_a": "y", "model_b": "x", "value": -1, "low": -2, "high": -0.5, "better": 0.2, "worse": 0.7}
    assert statistics._oriented(row, ["x", "y"]) == turned
    assert statistics._oriented(row, ["y", "x"]) == row


def test_gaps_and_their_differences_fit(benchmark):
    own, differences, _ = statistics.gaps(benchmark)
    assert len(own) == 2 * 2 * 3 and len(differences) == 2 * 3
    for row in differences.itertuples():
        gaps = own.query("source == @row.source and target == @row.target and metric == @row.metric")
        by_model = gaps.set_index("model")["value"]
        assert row.value == pytest.approx(by_model["ibn_b"] - by_model["bn"])
    found, _ = gap.gaps(benchmark.queries, benchmark.in_domain)
    assert sorted(own["value"]) == pytest.approx(sorted(one.estimate.value for one in found))


def test_a_model_tested_on_fewer_targets_has_the_gaps_it_can_have(benchmark):
    queries = benchmark.queries.query("not (model == 'bn' and source == 'plaza_x' and target == 'station_x')")
    own, differences, _ = statistics.gaps(dataclasses.replace(benchmark, queries=queries))
    assert set(own.query("source == 'plaza_x'")["model"]) == {"ibn_b"}
    assert set(differences["source"]) == {"station_x"}
    frame, _ = statistics.comparisons(dataclasses.replace(benchmark, queries=queries))
    assert "plaza_x → station_x" not in set(frame["source"] + " → " + frame["target"])


def test_remedies_are_compared_on_the_first_seed(benchmark):
    frame, left_out = statistics.remedy_comparisons(benchmark)
    assert not left_out
    assert set(frame["seeds"]) == {1} and set(frame["metric"]) == {"mAP"}
    remedies = frame[frame["model_a"] == "bn_standardised"]
    assert sorted(remedies["model_b"]) == ["bn"] * 4 + ["ibn_b"] * 4
    for (source, target), own in frame.groupby(["source", "target"]):
        both = pd.concat([benchmark.queries, benchmark.remedies_queries])
        here = both[(both["source"] == source) & (both["target"] == target) & (both["seed"] == 0)]
        two = set(here.groupby("model")["ap"].mean().nlargest(2).index)
        assert any({row.model_a, row.model_b} == two for row in own.itertuples())


def test_remedies_are_compared_on_their_own_seed(benchmark):
    def renamed(frame):
        return frame.assign(seed=frame["seed"].replace({0: 1}))

    own = dataclasses.replace(
        benchmark, remedies=renamed(benchmark.remedies), remedies_queries=renamed(benchmark.remedies_queries)
    )
    assert statistics.remedy_seed(benchmark) == 0 and statistics.remedy_seed(own) == 1
    frame, _ = statistics.remedy_comparisons(own)
    assert (frame["model_a"] == "bn_standardised").sum() >= 8
    row = frame.query("model_a == 'bn_standardised' and model_b == 'bn'").iloc[0]
    both = pd.concat([own.queries, own.remedies_queries]).query("seed == 1 and source == @row.source")
    means = both[both["target"] == row.target].groupby("model")["ap"].mean()
    assert row.value == pytest.approx(means["bn_standardised"] - means["bn"])
    several = dataclasses.replace(
        own, remedies=pd.concat([own.remedies, benchmark.remedies, own.remedies.assign(seed=7)])
    )
    assert statistics.remedy_seed(several) == 0
    later = dataclasses.replace(own, remedies=pd.concat([own.remedies, own.remedies.assign(seed=-7)]))
    assert statistics.remedy_seed(later) == 1  # models have no seed -7


def test_the_best_two_compared_do_not_see_the_target(benchmark):
    own = dataclasses.replace(benchmark, remedies=benchmark.remedies.assign(adabn=True))
    assert own.sees_target == {"bn_standardised"}
    frame, _ = statistics.remedy_comparisons(own)
    pairs = frame.groupby(["source", "target"]).apply(
        lambda f: {frozenset(p) for p in zip(f.model_a, f.model_b, strict=True)}
    )
    assert all(frozenset({"bn", "ibn_b"}) in found for found in pairs)


def test_a_pair_without_a_shared_seed_is_left_out_and_named(benchmark):
    queries = benchmark.queries
    lost = (queries["target"] == "station_x") & (queries["source"] == "plaza_x")
    lost &= (queries["model"] == "bn") & (queries["seed"] == 0) | (queries["model"] == "ibn_b") & (queries["seed"] == 1)
    own = dataclasses.replace(benchmark, queries=queries[~lost])
    frame, left_out = statistics.comparisons(own)
    whole, _ = statistics.comparisons(benchmark)
    kept = (whole["source"] != "plaza_x") | (whole["target"] != "station_x")
    pd.testing.assert_frame_equal(frame, whole[kept].reset_index(drop=True))
    assert len(left_out) == 1
    assert left_out[0].startswith("ibn_b minus bn, plaza_x → station_x: source plaza_x: no seed in common.")
    gaps, differences, left_out = statistics.gaps(own)
    assert len(gaps) == 2 * 2 * 3 and set(differences["source"]) == {"station_x"}
    assert [text.partition(": ")[0] for text in left_out] == ["ibn_b minus bn, plaza_x → station_x"]


def test_a_target_of_one_identity_is_left_out_and_named(benchmark):
    queries = benchmark.queries
    own = dataclasses.replace(benchmark, queries=queries[(queries["target"] != "station_x") | (queries["pid"] == 1)])
    frame, left_out = statistics.comparisons(own)
    assert set(frame["target"]) == {"plaza_x"} and len(left_out) == 2
    assert all("→ station_x: " in text and "identit" in text for text in left_out)
    gaps, differences, left_out = statistics.gaps(own)
    assert gaps.empty and differences.empty
    assert [text.partition(",")[0] for text in left_out] == ["bn", "ibn_b"] * 2


def rows(*pairs):
    columns = ["model_a", "model_b", "value", "significant"]
    frame = pd.DataFrame(pairs, columns=columns)
    return frame.assign(source="s", target="t", metric="mAP")


def test_best_by_hand():
    means = {"x": 0.5, "y": 0.7, "z": 0.6}
    both = rows(("y", "x", 0.2, True), ("z", "x", 0.1, False), ("z", "y", -0.1, True))
    assert statistics.best(both, means, "s", "t") == "y"
    assert statistics.best(both, means, "s", "elsewhere") is None
    one = rows(("y", "x", 0.2, False), ("z", "y", -0.1, True))
    assert statistics.best(one, means, "s", "t") is None
    assert statistics.best(one, means, "s", "t", rivals="next") == "y"
    assert statistics.best(both, {"y": 0.7}, "s", "t") is None  # nothing to be better than
    against = rows(("y", "x", -0.2, True), ("z", "y", -0.1, True))  # significant, but the other way
    assert statistics.best(against, means, "s", "t") is None


def test_ahead_says_when_two_were_not_compared():
    frame = rows(("y", "x", 0.2, True))
    assert statistics.ahead(frame, "y", "x") is True and statistics.ahead(frame, "x", "y") is False
    assert statistics.ahead(frame, "y", "z") is None


def results(*rows):
    """Rows of (target, seed, mAP) of one model trained on a and b together."""
    frame = pd.DataFrame(rows, columns=["target", "seed", "mAP"]).assign(model="bn", source="a+b")
    return frame.assign(in_domain=frame["target"] != "c")


def test_drop_is_the_mean_over_seeds_that_have_both():
    frame = results(("a", 0, 0.6), ("b", 0, 0.4), ("c", 0, 0.3), ("c", 1, 0.9), ("a", 2, 0.9), ("c", 2, 0.1))
    assert drops(frame) == {("bn", "a+b", "c"): pytest.approx(-0.2)}  # seed 1 has no home, seed 2 half of one
    assert drops(frame[frame["seed"] == 1]) == {}
    frame.loc[4, "mAP"] = math.nan
    assert drops(frame) == {("bn", "a+b", "c"): pytest.approx(-0.2)}


def test_mean_of_a_missing_figure_is_missing():
    found = means(results(("a", 0, 0.6), ("a", 1, math.nan), ("c", 0, 0.3), ("c", 1, 0.5)))
    assert math.isnan(found["bn", "a+b", "a"]) and found["bn", "a+b", "c"] == pytest.approx(0.4)
