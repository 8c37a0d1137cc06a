"""The tables of differences against the functions that compute one, and what "best" means, by hand."""

import dataclasses

import pandas as pd
import pytest

from reid.evaluation import gap
from reid.report import statistics


def test_differences_are_those_of_the_queries(benchmark):
    frame = statistics.comparisons(benchmark)
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
    own, differences = statistics.gaps(benchmark)
    assert len(own) == 2 * 2 * 3 and len(differences) == 2 * 3
    for row in differences.itertuples():
        gaps = own.query("source == @row.source and target == @row.target and metric == @row.metric")
        by_model = gaps.set_index("model")["value"]
        assert row.value == pytest.approx(by_model["ibn_b"] - by_model["bn"])
    found, _ = gap.gaps(benchmark.queries, benchmark.in_domain)
    assert sorted(own["value"]) == pytest.approx(sorted(one.estimate.value for one in found))


def test_a_model_tested_on_fewer_targets_has_the_gaps_it_can_have(benchmark):
    queries = benchmark.queries.query("not (model == 'bn' and source == 'plaza_x' and target == 'station_x')")
    own, differences = statistics.gaps(dataclasses.replace(benchmark, queries=queries))
    assert set(own.query("source == 'plaza_x'")["model"]) == {"ibn_b"}
    assert set(differences["source"]) == {"station_x"}
    frame = statistics.comparisons(dataclasses.replace(benchmark, queries=queries))
    assert "plaza_x → station_x" not in set(frame["source"] + " → " + frame["target"])


def test_remedies_are_compared_on_the_first_seed(benchmark):
    frame = statistics.remedy_comparisons(benchmark)
    assert set(frame["seeds"]) == {1} and set(frame["metric"]) == {"mAP"}
    remedies = frame[frame["model_a"] == "bn_standardised"]
    assert sorted(remedies["model_b"]) == ["bn"] * 4 + ["ibn_b"] * 4
    for (source, target), own in frame.groupby(["source", "target"]):
        both = pd.concat([benchmark.queries, benchmark.remedies_queries])
        here = both[(both["source"] == source) & (both["target"] == target) & (both["seed"] == 0)]
        two = set(here.groupby("model")["ap"].mean().nlargest(2).index)
        assert any({row.model_a, row.model_b} == two for row in own.itertuples())


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
