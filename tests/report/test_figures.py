import dataclasses

import numpy as np
import pandas as pd
import pytest

from reid.report import figures, forest, stages, statistics

PNG = b"\x89PNG"


def test_cmc_by_hand():
    queries = pd.DataFrame({"seed": [0, 0, 1, 1], "first_rank": [1, 3, 1, 30]})
    assert figures.cmc(queries) == pytest.approx([0.5, 0.5, *[0.75] * 18])


def test_cmc_equals_the_results(benchmark):
    own = benchmark.queries.query("model == 'bn' and source == 'plaza_x' and target == 'station_x'")
    results = benchmark.results.query("model == 'bn' and source == 'plaza_x' and target == 'station_x'")
    curve = figures.cmc(own)
    assert curve[[0, 4, 9]] == pytest.approx(results[["rank1", "rank5", "rank10"]].mean().to_numpy())
    assert (np.diff(curve) >= 0).all()


def test_models_keep_their_look():
    looks = figures.styles([f"m{n}" for n in range(7)])
    assert len({look.color for look in looks.values()}) == len({look.marker for look in looks.values()}) == 7
    assert figures.styles(["m0", "m1"]) == {name: looks[name] for name in ("m0", "m1")}


def test_every_figure_is_a_png_the_same_each_time(benchmark):
    frame = statistics.comparisons(benchmark)
    drawn = [figures.heat_maps(benchmark), forest.forest(frame, benchmark.models)]
    drawn += [figures.cmc_curves(benchmark), stages.divergence(benchmark)]
    assert all(one.content.startswith(PNG) and one.caption and one.alt for one in drawn)
    assert figures.heat_maps(benchmark).content == drawn[0].content
    open_ = int((~frame.query("metric == 'mAP'")["significant"]).sum())
    assert f"not significant ({open_} of 4)" in drawn[1].caption
    assert "near zero by construction" in drawn[3].caption and "floored at 1e-05" in drawn[3].caption


def test_nothing_to_draw(benchmark):
    assert forest.forest(statistics.comparisons(benchmark).iloc[:0], benchmark.models) is None
    assert stages.divergence(dataclasses.replace(benchmark, divergence=benchmark.divergence.iloc[:0])) is None


def test_zero_divergence_is_counted(benchmark):
    frame = benchmark.divergence.copy()
    frame.loc[0, "mean"] = 0
    assert "1 values of zero" in stages.divergence(dataclasses.replace(benchmark, divergence=frame)).caption
