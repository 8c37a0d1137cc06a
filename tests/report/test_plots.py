import dataclasses

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from reid.report import plots, statistics

PNG = b"\x89PNG"


def test_cmc_by_hand():
    queries = pd.DataFrame({"seed": [0, 0, 1, 1], "first_rank": [1, 3, 1, 30]})
    assert plots.cmc(queries) == pytest.approx([0.5, 0.5, *[0.75] * 18])


ODD = r"a $\frac b$"  # as a formula it cannot be read


def test_a_name_is_no_formula(benchmark):
    def odd(frame, *columns):
        return frame.assign(**{column: frame[column].replace({"bn": ODD, "plaza_x": ODD}) for column in columns})

    own = dataclasses.replace(
        benchmark, models=(ODD, "ibn_b"),
        **{name: odd(getattr(benchmark, name), "model", "source", "target") for name in ("results", "queries")},
    )  # fmt: skip
    comparisons = odd(statistics.comparisons(benchmark)[0], "model_b", "source", "target")
    divergence = odd(benchmark.divergence, "model", "a", "b")
    for drawn in (plots.heat_maps(own), plots.cmc_curves(own), plots.forest(comparisons, own.models),
                  plots.divergence(divergence, own.models)):  # fmt: skip
        assert drawn.content.startswith(PNG)


def test_cmc_equals_the_results(benchmark):
    own = benchmark.queries.query("model == 'bn' and source == 'plaza_x' and target == 'station_x'")
    results = benchmark.results.query("model == 'bn' and source == 'plaza_x' and target == 'station_x'")
    curve = plots.cmc(own)
    assert curve[[0, 4, 9]] == pytest.approx(results[["rank1", "rank5", "rank10"]].mean().to_numpy())
    assert (np.diff(curve) >= 0).all()


def test_figures_are_pngs_and_say_what_they_show(benchmark, folder):
    frame, _ = statistics.comparisons(benchmark)
    drawn = {name: (folder / "images" / f"{name}.png").read_bytes() for name in ("heat_maps", "forest", "cmc")}
    assert all(content.startswith(PNG) for content in drawn.values())
    plot = plots.forest(frame, benchmark.models)
    assert plot.content == drawn["forest"]  # the same bytes each time
    open_ = int((~frame.query("metric == 'mAP'")["significant"]).sum())
    assert f"not significant ({open_} of 4)" in plot.caption and plot.alt


def test_nothing_to_draw(benchmark):
    assert plots.forest(statistics.comparisons(benchmark)[0].iloc[:0], benchmark.models) is None
    assert plots.divergence(benchmark.divergence.iloc[:0], benchmark.models) is None


def test_zero_divergence_is_counted(benchmark):
    frame = benchmark.divergence.copy()
    frame.loc[0, "mean"] = 0
    caption = plots.divergence(frame, benchmark.models).caption
    assert "1 values of zero" in caption
    assert "near zero by construction" in caption and "floored at 1e-05" in caption


def test_domains_compared_with_identities_by_hand():
    rows = [("bn", by, stage, mean) for by, means in (("domain", (8, 3)), ("identity", (2, 6))) for stage, mean in
            zip((1, 4), means, strict=True)]  # fmt: skip
    frame = pd.DataFrame(rows, columns=["model", "by", "stage", "mean"]).assign(
        source="s", seed=0, a="s", b="t", median=0.0, instance_norm=False, floor=1e-5
    )
    assert "bn 4 times after stage 1, 0.5 times after stage 4" in plots.divergence(frame, ["bn"]).caption
    assert "compared with" not in plots.divergence(frame[frame["by"] == "domain"], ["bn"]).caption


def frame(models: list[str]) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {"model": model, "by": "domain", "stage": stage, "mean": 0.1 * stage, "instance_norm": False, "floor": 1e-5}
            for model in models
            for stage in (1, 2, 3, 4)
        ]
    )


@pytest.mark.parametrize("models", [["bn"], ["sites_bn_seed0", "sites_ibn_b_seed0"], ["a" * 70, "$_b", "c" * 30]])
def test_the_legend_is_inside(models, monkeypatch):
    drawn: list[Figure] = []
    monkeypatch.setattr(plots, "png", lambda figure: drawn.append(figure) or b"")
    plots.divergence(frame(models), models)
    (figure,) = drawn
    for text in figure.legends[0].get_texts():
        text.set_parse_math(False)
    figure.draw_without_rendering()
    (legend,) = figure.legends
    box, whole = legend.get_window_extent(), figure.bbox
    assert box.x0 >= 0 and box.x1 <= whole.x1 and box.y1 <= whole.y1
    assert box.y0 > figure.axes[0].get_window_extent().y1  # nor over the panel
