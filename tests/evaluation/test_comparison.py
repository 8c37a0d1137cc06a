"""Networks side by side: each quantity against the plain mean, and what cannot be computed is named."""

import numpy as np
import pandas as pd
import pytest

from reid.errors import InputError
from reid.evaluation.comparison import QUERIES, figures, queries_of, standings, turned
from reid.evaluation.interval import Term, estimate
from reid.evaluation.results import QUERIES_FILE


def queries(model, source, target, seed, identities=6) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    pids = np.repeat(np.arange(1, identities + 1), 3)
    return pd.DataFrame(
        {
            "model": model, "source": source, "target": target, "trial": 0,
            "path": [f"{number}.jpg" for number in range(len(pids))], "camid": 1, "pid": pids,
            "ap": rng.uniform(size=len(pids)), "inp": 0.5,
            "first_rank": rng.integers(1, 4, len(pids)),
        }
    )[list(QUERIES)]  # fmt: skip


@pytest.fixture
def table() -> pd.DataFrame:
    return pd.concat([
        queries("a", "not known", "plaza", 0), queries("a", "not known", "station", 1),
        queries("b", "plaza", "plaza", 2), queries("b", "plaza", "station", 3),
    ])  # fmt: skip


def of(table, model, target, column="ap"):
    return table[(table["model"] == model) & (table["target"] == target)][column].to_numpy()


def test_every_quantity_is_the_plain_mean_of_its_queries(table):
    told, left_out = standings(table)
    assert left_out == []
    assert [(one.model, one.target, one.measure) for one in told] == [
        (model, target, measure) for target in ("plaza", "station") for model in "ab" for measure in ("mAP", "rank1")
    ]
    for one in told:
        values = {m: of(table, m, one.target) for m in "ab"}
        if one.measure == "rank1":
            values = {m: (of(table, m, one.target, "first_rank") == 1).astype(float) for m in "ab"}
        assert one.figure.value == pytest.approx(values[one.model].mean())
        assert (one.lead is None) == (one.model == "a")
        if one.lead:
            pids = of(table, "a", one.target, "pid")
            assert one.lead == estimate([Term((values["b"] - values["a"])[None], pids)])
    drops = {(one.model, one.target): one.drop for one in told if one.measure == "mAP"}
    assert [key for key, drop in drops.items() if drop] == [("b", "station")]
    drop = drops["b", "station"]
    assert drop.value == pytest.approx(of(table, "b", "station").mean() - of(table, "b", "plaza").mean())
    assert drop.low < drop.value < drop.high
    assert [one.in_domain for one in told if one.model == "b" and one.measure == "mAP"] == [True, False]


def test_home_counts_for_the_drop_and_has_no_line(table):
    home = queries("b", "plaza", "plaza", 2)
    told, _ = standings(table[table["target"] == "station"], home=home)
    whole, _ = standings(table)
    assert {one.target for one in told} == {"station"}
    assert [one.drop for one in told] == [one.drop for one in whole if one.target == "station"]


def test_what_cannot_be_computed_is_named_and_loses_nothing_else(table):
    one_person = queries("b", "plaza", "alone", 5, identities=1)
    told, left_out = standings(pd.concat([table, one_person]))
    alone = [one for one in told if one.target == "alone"]
    assert [(one.figure, one.lead, one.drop) for one in alone] == [(None, None, None)] * 2
    assert len(left_out) == 2 and all(text.startswith("b") and "identities" in text for text in left_out)
    assert [one.drop is not None for one in told if (one.model, one.target) == ("b", "station")] == [True, True]
    others = table[table["model"] == "b"].assign(path=lambda rows: "other/" + rows["path"])
    _, left_out = standings(pd.concat([table[table["model"] == "a"], others]))
    assert len(left_out) == 2 and all("were tested on different queries" in text for text in left_out)


def test_turned():
    found = figures(queries("a", "x", "y", 0))["mAP"]
    again = turned(found)
    assert (again.value, again.low, again.high) == (-found.value, -found.high, -found.low)
    assert turned(again) == found


def test_a_damaged_file_is_named(tmp_path):
    place = tmp_path / "targets" / "plaza"
    place.mkdir(parents=True)
    with pytest.raises(InputError, match=f"{QUERIES_FILE}: cannot be read"):
        queries_of(tmp_path, "plaza", "a", "x", "plaza")
    (place / QUERIES_FILE).write_bytes(b"no table")
    with pytest.raises(InputError, match="evaluate again"):
        queries_of(tmp_path, "plaza", "a", "x", "plaza")
    pd.DataFrame({"path": ["a"]}).to_parquet(place / QUERIES_FILE)
    with pytest.raises(InputError, match="cannot be read: .*pid"):
        queries_of(tmp_path, "plaza", "a", "x", "plaza")
