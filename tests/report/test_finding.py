"""Sentences from invented tables: they follow the figures, whatever these say."""

import dataclasses

import pandas as pd

from reid.report import finding
from reid.report.statistics import COMPARISONS, GAPS


def differences(*values, in_domain=False, seeds=3, a="ibn_b", b="bn"):
    """Rows of (value, half the interval's width), one direction each."""
    rows = [
        {
            "model_a": a, "model_b": b, "source": f"s{n}", "target": f"t{n}", "metric": "mAP", "value": value,
            "low": value - half, "high": value + half, "significant": abs(value) > half, "seeds": seeds,
            "in_domain": in_domain,
        }
        for n, (value, half) in enumerate(values)
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=COMPARISONS)


NO_GAPS = pd.DataFrame(columns=GAPS)


def test_all_four_cases(benchmark):
    frame = pd.concat([differences((0.2, 0.05), (-0.1, 0.02), (0.01, 0.05)), differences((0.01, 0.1), in_domain=True)])
    assert finding.findings(benchmark, frame, NO_GAPS) == [
        "Cross-domain, ibn_b is significantly above bn in mAP on 1 of 3 directions: +20.0 points [+15.0, +25.0] "
        "(s0 → t0); it is significantly below bn in mAP on 1 of 3 directions: -10.0 points [-12.0, -8.0] (s1 → t1); "
        "on 1 of 3 directions the difference in mAP is not significant: +1.0 points [-4.0, +6.0] (s2 → t2).",
        "In-domain, on 1 of 1 direction the difference in mAP is not significant: +1.0 points [-9.0, +11.0] (s0 → t0), "
        "so nothing is claimed for ibn_b against bn.",
    ]


def test_many_directions_are_summed_up_and_one_seed_is_said(benchmark):
    frame = differences(*((0.1 + n / 100, 0.02) for n in range(6)), seeds=1)
    assert finding.findings(benchmark, frame, NO_GAPS) == [
        "Cross-domain, ibn_b is significantly above bn in mAP on 6 of 6 directions: from +10.0 points [+8.0, +12.0] "
        "(s0 → t0) to +15.0 points [+13.0, +17.0] (s5 → t5). One seed: this holds for these trained networks, not for "
        "the methods."
    ]


def test_one_seed_is_said_of_the_directions_that_have_one(benchmark):
    abroad = differences((0.2, 0.05), (-0.1, 0.02)).assign(seeds=[3, 1])
    at_home = differences((0.01, 0.1), in_domain=True)
    first, second = finding.findings(benchmark, pd.concat([abroad, at_home]), NO_GAPS)
    assert first.endswith(
        " (s1 → t1). One seed on s1 → t1: this holds for these trained networks, not for the methods."
    )
    assert "One seed" not in second
    first, second = finding.findings(benchmark, pd.concat([at_home.assign(seeds=1), abroad.assign(seeds=3)]), NO_GAPS)
    assert "One seed" not in first and " One seed: this holds" in second


def test_other_pairs_and_metrics_do_not_count(benchmark):
    other = differences((0.3, 0.01), a="ibn_a"), differences((0.3, 0.01)).assign(metric="rank1")
    assert finding.findings(benchmark, pd.concat(other), NO_GAPS) == [
        "There is no direction in which ibn_b and bn could be compared."
    ]


def test_what_could_not_be_compared_is_counted(benchmark):
    found = finding.findings(benchmark, differences((0.3, 0.01)), NO_GAPS, ["x minus y, s → t: why"])
    assert found[1:] == ["1 comparison of two models could not be made; named below."]


def test_subject_names_what_sees_the_target(benchmark):
    own = dataclasses.replace(benchmark, description={"models": {"ibn_b": {"cfg": "x.yaml", "adabn": True}}})
    assert ". Of these, ibn_b took batch-norm statistics from the target's unlabelled" in finding.subject(own)


def test_losses_turn_the_gap(benchmark):
    gaps = pd.DataFrame(
        [("bn", "s", "t", "mAP", 0.3, 0.2, 0.5, True, 3), ("bn", "s", "u", "mAP", 0.1, -0.1, 0.3, False, 3)],
        columns=["model", "source", "target", "metric", "value", "low", "high", "significant", "seeds"],
    )
    assert finding.losses("bn", gaps) == [
        "From home to abroad bn's mAP changes: -10.0 points [-30.0, +10.0] (s → u), -30.0 points [-50.0, -20.0] "
        "(s → t); not significant on s → u."
    ]
    assert finding.losses("ibn_b", gaps) == []
    gaps.loc[1, "seeds"] = 1
    assert finding.losses("bn", gaps)[0].endswith(". One seed on s → u: this holds for these trained networks, not for "
                                                  "the methods.")  # fmt: skip
    alone = dataclasses.replace(benchmark, models=("bn",))
    assert finding.findings(alone, differences(), gaps) == finding.losses("bn", gaps)


def test_subject(benchmark):
    assert finding.subject(benchmark) == (
        "2 models (bn and ibn_b), each trained on plaza_x or station_x with 2 seeds (0, 1), were tested on plaza_x "
        "and station_x. Valid queries: plaza_x 24 and station_x 24; in-domain means the test split of the data trained "
        "on."
    )


def test_subject_of_a_table_with_holes(benchmark):
    results = benchmark.results.iloc[1:].assign(queries=benchmark.results["queries"].where(
        benchmark.results["target"] != "plaza_x"))  # fmt: skip
    text = finding.subject(dataclasses.replace(benchmark, results=results))
    assert "with up to 2 seeds (0, 1)" in text
    assert "Valid queries: plaza_x not known and station_x 24;" in text or "station_x 24 and plaza_x not known;" in text
