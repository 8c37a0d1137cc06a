"""The picture of divergence: nothing of its legend is cut off, however few its panels and long its names."""

import pandas as pd
import pytest
from matplotlib.figure import Figure

from reid.report import stages


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
    monkeypatch.setattr(stages, "png", lambda figure: drawn.append(figure) or b"")
    stages.divergence(frame(models), models)
    (figure,) = drawn
    for text in figure.legends[0].get_texts():
        text.set_parse_math(False)
    figure.draw_without_rendering()
    (legend,) = figure.legends
    box, whole = legend.get_window_extent(), figure.bbox
    assert box.x0 >= 0 and box.x1 <= whole.x1 and box.y1 <= whole.y1
    assert box.y0 > figure.axes[0].get_window_extent().y1  # nor over the panel
