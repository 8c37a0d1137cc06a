"""Ranked lists: which are chosen, and what is drawn around them."""

import io
import re
import shutil

import numpy as np
import pandas as pd
import pytest
from benchmark_folders import benchmark_folder
from PIL import Image

from reid.report import ranked_lists
from reid.report.benchmark import read_benchmarks


@pytest.fixture(scope="module")
def sections(benchmark):
    return ranked_lists.ranked_lists(benchmark)


def test_failures_are_those_of_the_rule(benchmark, sections):
    assert [section.direction for section in sections] == ["plaza_x → station_x", "station_x → plaza_x"]
    own = benchmark.queries.query("source == 'plaza_x' and target == 'station_x' and seed == 0")
    bn, ibn = (own[own["model"] == model].set_index("path") for model in ("bn", "ibn_b"))
    for group, lost, won, names in zip(
        sections[0].groups[1:], (bn, ibn), (ibn, bn), (("bn", "ibn_b"), ("ibn_b", "bn")), strict=True
    ):
        found = sorted(
            (path for path in lost.index if lost["first_rank"][path] > 1 and won["first_rank"][path] == 1),
            key=lambda path: lost["ap"][path] - won["ap"][path],
        )
        assert group.title == f"Where {names[0]} fails and {names[1]} succeeds"
        assert f": {len(found)} of 24 queries;" in group.rule
        shown = [re.match("Query (.*), person", one.alt)[1] for one in group.lists[::2]]
        assert shown == found[: ranked_lists.EXAMPLES]
        assert [one.title.partition(":")[0] for one in group.lists] == list(names) * len(shown)
    assert sections[0].groups[1].lists  # else nothing was tested


def test_lists_say_and_frame_right_and_wrong(benchmark, sections):
    run = benchmark.results.query("model == 'bn' and source == 'plaza_x' and seed == 0")["run"].iloc[0]
    ranks = pd.read_parquet(f"{run}/targets/station_x/ranks.parquet")
    for one in sections[0].groups[1].lists[::2]:
        path = re.match("Query (.*), person", one.alt)[1]
        own = ranks[(ranks["query_path"] == path) & (ranks["rank"] <= ranked_lists.SHOWN)]
        words = [f"{row.rank} {'right' if row.match else 'wrong'}" for row in own.itertuples()]
        assert one.alt.endswith(f"with bn: {', '.join(words)}.")
        pixels = np.asarray(Image.open(io.BytesIO(one.content)).convert("RGB")).astype(int)
        for place, match in enumerate(own["match"], 1):
            left = 2 * ranked_lists.GAP + place * (ranked_lists.CELL[1] + ranked_lists.GAP)
            red, green, _ = pixels[60, left]
            assert (green > red + 40) if match else (red > green + 40)


def test_a_query_whose_images_are_gone_is_said_so(tmp_path):
    folder = benchmark_folder(tmp_path, ["bn"], ["plaza_x"], seeds=[0], remedies=[], divergence=False, identities=2)
    benchmark = read_benchmarks([folder])
    (tmp_path / "data" / "station_x" / "images" / "1_1_0.jpg").write_bytes(b"no image")
    for path in sorted((tmp_path / "data" / "station_x" / "images").glob("*_0.jpg")):
        path.write_bytes(b"no image")
    assert "not a readable image" in ranked_lists.ranked_lists(benchmark)[0].missing
    shutil.rmtree(tmp_path / "data" / "station_x")
    assert "station_x.csv" in ranked_lists.ranked_lists(benchmark)[0].missing


def test_moved_folders_are_found_beside_each_other(tmp_path):
    folder = benchmark_folder(tmp_path, ["bn"], ["plaza_x"], seeds=[0], remedies=[], divergence=False, identities=2)
    moved = folder.parent.rename(tmp_path / "elsewhere") / folder.name
    (section,) = ranked_lists.ranked_lists(read_benchmarks([moved]))
    assert not section.missing and len(section.groups) == 1  # one model: nothing to fail against
    assert len(section.groups[0].lists) == ranked_lists.SAMPLES


def test_directions_beyond_the_limit_are_named(tmp_path, monkeypatch, benchmark):
    monkeypatch.setattr(ranked_lists, "DIRECTIONS", 1)
    assert ranked_lists.left_out(benchmark) == ["station_x → plaza_x"]
