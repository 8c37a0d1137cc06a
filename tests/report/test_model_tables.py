"""Tables of remedies: which seed, which rivals."""

import dataclasses

import pandas as pd

from reid.report import statistics
from reid.report.model_tables import headline, remedy_tables


def on_seed(frame, seed):
    return frame.assign(seed=seed)


def test_seeds_that_are_not_shown_are_named(benchmark):
    other = on_seed(benchmark.remedies, 7).assign(model="late")
    own = dataclasses.replace(benchmark, remedies=pd.concat([on_seed(benchmark.remedies, 1), other]))
    table = remedy_tables(own, statistics.remedy_comparisons(benchmark)[0])[0]
    assert [row[0] for row in table.rows] == ["bn", "ibn_b", "bn_standardised"]
    assert "seed 1 only" in table.note
    assert "Seeds of remedies that are not shown: 7. Remedies without seed 1, left out: late." in table.note
    assert "Models without" not in table.note


def test_remedies_on_a_seed_of_their_own_stand_alone(benchmark):
    own = dataclasses.replace(benchmark, remedies=on_seed(benchmark.remedies, 7))
    table, pairs = remedy_tables(own, statistics.remedy_comparisons(own)[0])
    assert [row[0] for row in table.rows] == ["bn_standardised"] and not pairs.rows
    assert "Models without seed 7, left out: bn, ibn_b." in table.note


def test_what_sees_the_target_is_no_rival_in_the_main_table(benchmark):
    mAP = {model: 0.5 + place / 10 for place, model in enumerate(["bn", "ibn_b", "seeing"])}
    bn = benchmark.results.query("model == 'bn'")
    results = pd.concat([bn.assign(model=model, mAP=mAP[model], adabn=model == "seeing") for model in mAP])
    own = dataclasses.replace(benchmark, results=results, models=tuple(mAP))
    columns = ["model_a", "model_b", "source", "target", "metric", "value", "significant"]
    frame = pd.DataFrame([("ibn_b", "bn", "plaza_x", "station_x", "mAP", 0.1, True)], columns=columns)
    table = headline(own, frame)
    assert [table.header[column].split(":")[0] for column in (1, 2, 3)] == ["bn", "ibn_b", "seeing †"]
    (line,) = (n for n, row in enumerate(table.rows) if row[0].startswith("plaza_x → station_x"))
    assert table.bold == {(line, 2)}
    assert "† sees the target's unlabelled images" in table.note and "neither bold nor a rival" in table.note
