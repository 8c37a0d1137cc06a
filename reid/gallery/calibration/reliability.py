"""A calibration as a picture and a table: do probabilities and error rates hold where they were not chosen?"""

from __future__ import annotations

from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from reid.drawing import Style, png, styles
from reid.gallery.calibration.judgement import Judge, percent
from reid.gallery.calibration.rates import Measured, Share
from reid.gallery.calibration.thresholds import Calibration

HEADER = ["data set", "wanted, %", "threshold", "false-match rate, %", "true-match rate, %", "FPIR, %", "DIR, %",
          "false pairs", "true pairs"]  # fmt: skip
SIZES = (30, 100, 300, 1_000, 10_000, 100_000)  # of galleries
NONE_MET = 0.5  # of a pair: where a rate of zero is drawn on an axis of powers of ten


def table(calibration: Calibration) -> list[list[str]]:
    """A row a data set and rate, for :func:`reid.texts.align`; with 95 % intervals in brackets."""
    lines = [HEADER]
    for rate in calibration.unresolved:
        cells = [f"{calibration.source}, fitted half", f"{100 * rate.rate:g}", "not resolved", *["-"] * 4]
        lines.append([*cells, f"{rate.pairs:,} of {rate.needed:,}", f"{calibration.fitted.true:,}"])
    for data_set in (calibration.held, *calibration.targets):
        for row in data_set.rates:
            shares = (row.false_match, row.true_match, row.fpir, row.dir)
            cells = [data_set.name, f"{100 * row.rate:g}", f"{row.threshold:.4f}", *map(_percent, shares)]
            lines.append([*cells, f"{row.false_match.count:,}", f"{row.true_match.count:,}"])
    return lines


def strangers_table(calibration: Calibration) -> list[list[str]]:
    """A row a size of gallery and data set, for :func:`reid.texts.align`: the distance within which an entry is called
    near, and the share of strangers that find one, wanted and met."""
    lines = [["entries", "data set", "near within", "strangers, wanted at most, %", "met, %"]]
    for entries in SIZES:
        judge = Judge(calibration, entries)
        wanted = f"{100 * judge.share:g}"
        for where, met in judge.met:
            lines.append([f"{entries:,}", where, f"{judge.near:.4f}", wanted, _percent(met)])
        if not judge.met:
            least = f"resolved: from {percent(judge.least_share)}"
            lines.append([f"{entries:,}", f"{calibration.source}, fitted half", "not resolved", wanted, least])
    return lines


def reliability_picture(calibration: Calibration) -> bytes:
    """A PNG. Left: the share of pairs that are of one person, against the probability stated, at even odds; below, the
    pairs behind each point. Right: false-match rates met at the thresholds, with 95 % intervals over people; an open
    marker: none met. On the dashed lines both hold."""
    data_sets = (calibration.held, *calibration.targets)
    look = styles([data_set.name for data_set in data_sets])
    figure = Figure(figsize=(9.5, 5.2 + 0.25 * len(data_sets)), layout="constrained")
    grid = figure.add_gridspec(2, 2, height_ratios=(3, 1))
    curves = figure.add_subplot(grid[0, 0])
    counts, met = figure.add_subplot(grid[1, 0], sharex=curves), figure.add_subplot(grid[:, 1])
    for place, data_set in enumerate(data_sets):
        style = look[data_set.name]
        _curve(curves, counts, data_set, style)
        _met(met, data_set, style, 1.06 ** (place - (len(data_sets) - 1) / 2))
    curves.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), ylabel="share of one person met, at even odds")
    curves.tick_params(labelbottom=False)
    counts.set(yscale="log", xlabel="probability of one person stated, at even odds", ylabel="pairs")
    counts.yaxis.set_minor_formatter(NullFormatter())  # its labels would lie on each other
    met.set(xscale="log", yscale="log", xlabel="false-match rate wanted", ylabel="false-match rate met")
    ends = met.get_xlim()
    for axes, both in ((curves, (0, 1)), (met, ends)):
        axes.plot(both, both, color="#777777", ls="--", lw=1)
    met.set_xlim(ends)
    for axes in (curves, counts, met):
        axes.xaxis.label.set_fontsize(9)
        axes.yaxis.label.set_fontsize(9)
        axes.grid(color="#dddddd", lw=0.6)
        axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle(f"{calibration.model}, calibrated on half of the people of {calibration.source}", fontsize=11)
    handles, labels = curves.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", fontsize=9, frameon=False)
    return png(figure)


def _curve(curves: Axes, counts: Axes, data_set: Measured, style: Style) -> None:
    some = data_set.rates[0]
    pairs = f"{some.true_match.count:,} pairs of one person, {some.false_match.count:,} of two"
    label = f"{data_set.name}: {data_set.people} people, {pairs}"
    look: dict[str, Any] = {"color": style.color, "ls": style.dash, "marker": style.marker, "ms": 5}
    predicted = [each.predicted for each in data_set.bins]
    curves.plot(predicted, [each.met for each in data_set.bins], label=label, **look)
    counts.plot(predicted, [each.true + each.false for each in data_set.bins], **look)


def _met(axes: Axes, data_set: Measured, style: Style, shift: float) -> None:
    """Points a little apart, ``shift`` times the wanted rate, so that intervals do not hide each other."""
    wanted, rates = [row.rate * shift for row in data_set.rates], [row.false_match for row in data_set.rates]
    drawn = [[max(each, NONE_MET / rate.count) for each in (rate.low, rate.value, rate.high)] for rate in rates]
    low, value, high = zip(*drawn, strict=True)
    axes.plot(wanted, value, color=style.color, ls=style.dash)
    axes.vlines(wanted, low, high, color=style.color, lw=1.2)
    fill = [style.color if rate.value else "white" for rate in rates]
    axes.scatter(wanted, value, s=36, c=fill, marker=style.marker, edgecolors=style.color, zorder=3)


def _percent(share: Share) -> str:
    return f"{100 * share.value:.3g} ({100 * share.low:.3g}-{100 * share.high:.3g})"
