import dataclasses

import pytest
from benchmark_folders import benchmark_folder

from reid.errors import InputError
from reid.report.inputs import read_benchmarks
from reid.report.published import FILE, FLAGS, compare, read_published


@pytest.fixture(scope="session")
def published():
    return read_published()


@pytest.fixture
def market(tmp_path):
    """Our own figures on public data, invented."""
    sets = ["market1501", "msmt17"]
    return read_benchmarks([benchmark_folder(tmp_path, ["bn"], sets, sets, [0], [], divergence=False, identities=2)])


def test_flags_follow_from_facts(published):
    for row in published:
        assert ("pairwise matcher" in row.flags) == row.method.startswith(("QAConv", "TransMatcher"))
        assert ("extra data" in row.flags) == row.train.endswith("_all")
        assert ("Duke" in row.flags) == ("dukemtmc" in (row.train, row.test))
        other_size = row.method.startswith(("SBS", "MMET", "DMRL")) or row.source.startswith("ShengcaiLiao/QAConv")
        assert ("input size" in row.flags) == other_size
        assert ("epoch chosen on the target" in row.flags) == row.method.startswith("PAT ")
        assert row.mAP is not None and 0 < row.mAP < 100 and row.source


def test_recent_rows_say_what_their_table_does_not_state(published):
    recent = [row for row in published if row.source.startswith("result image")]
    assert len(recent) == 47 and all("one group's table" in row.note for row in recent)
    assert {row.test for row in recent if "detected or labelled not stated" in row.note} >= {"cuhk03np"}
    best = max((row for row in recent if (row.train, row.test) == ("msmt17", "market1501")), key=lambda row: row.mAP)
    assert (best.method, best.mAP, best.rank1, best.flags) == ("MUVA (2603.14012)", 59.5, 82.7, ())


def test_same_data_stand_beside_ours_and_flagged_rows_apart(market, published):
    compared = compare(market, published)
    assert not compared.context
    plain, flagged = compared.matching
    ours = [row for row in plain.rows if row[0] == "ours: bn"]
    assert len(ours) == 4 and plain.rows[:4] == tuple(ours)
    frame = market.results.query("source == 'market1501' and target == 'msmt17'")
    assert next(row for row in ours if row[2] == "market1501 → msmt17")[3] == f"{100 * frame['mAP'].item():.1f}"
    named = {row.method for row in published if row.flags and (row.train, row.test) == ("market1501", "msmt17")}
    assert named and not named & {row[0] for row in plain.rows if row[2] == "market1501 → msmt17"}
    assert all(row[-1] and set(row[-1].split("; ")) <= set(FLAGS) for row in flagged.rows)
    assert not any(row[0].startswith("ours") for row in flagged.rows)
    assert not plain.bold and not flagged.bold
    assert all(set(row[2].split(" → ")) <= {"market1501", "msmt17", "msmt17_all"} for row in plain.rows + flagged.rows)


def test_our_own_figures_on_duke_carry_its_flag(market, published):
    def renamed(frame):
        return frame.assign(**{name: frame[name].replace("msmt17", "dukemtmc") for name in ("source", "target")})

    own = dataclasses.replace(market, results=renamed(market.results), queries=renamed(market.queries))
    plain, flagged = compare(own, published).matching
    ours = {row[2]: row for row in flagged.rows if row[0] == "ours: bn"}
    assert set(ours) == {"market1501 → dukemtmc", "dukemtmc → market1501", "dukemtmc → dukemtmc"}
    assert all(row[-1] == "Duke" for row in ours.values()) and "withdrawn" in flagged.note
    assert [row[2] for row in plain.rows if row[0] == "ours: bn"] == ["market1501 → market1501"]
    mAP = own.results.query("source == 'market1501' and target == 'dukemtmc'")["mAP"].item()
    assert ours["market1501 → dukemtmc"][3] == f"{100 * mAP:.1f}"


def test_what_sees_the_target_says_so_beside_published_figures(market, published):
    own = dataclasses.replace(market, results=market.results.assign(adabn=True))
    row = compare(own, published).matching[0].rows[0]
    assert row[0] == "ours: bn †" and row[-1].startswith("sees the target's unlabelled images")


def test_drawn_sites_get_context_only(benchmark, published):
    compared = compare(benchmark, published)
    assert not compared.matching and len(compared.context) == 2
    for table in compared.context:
        assert not any(row[0].startswith("ours") for row in table.rows)
        assert all(row[2].split(" → ")[0] != row[2].split(" → ")[1] for row in table.rows)


@pytest.mark.parametrize(
    ("change", "message"),
    [(("Duke", "Dukes"), "flag 'Dukes' is not one of pairwise matcher, "), ((",86.1,", ",high,"), "line 2: .*high")],
)
def test_bad_tables(tmp_path, change, message):
    (tmp_path / "own.csv").write_text(FILE.read_text().replace(*change))
    with pytest.raises(InputError, match=message):
        read_published(tmp_path / "own.csv")
