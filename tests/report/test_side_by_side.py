from dataclasses import replace

import pytest
from matplotlib.colors import to_hex

from reid.report import side_by_side
from reid.report.side_by_side import CHECKED, Row, gap_plot, gap_table, rows_of, target_table


def row(model="bn", source="plaza", target="plaza", seed=0, mAP=0.5):
    return Row(model, source, target, seed, mAP, 0.6, 0.7, 0.1, 10, 20, target == source)


def test_gap_table_by_hand():
    rows = [
        row(),
        row(target="station", mAP=0.2),
        row("ibn_b", target="station", mAP=0.4),
        row(seed=1, target="station", mAP=0.25),
        row(seed=1, mAP=0.55),
    ]
    assert gap_table(rows).splitlines() == [
        "| mAP in % (drop) | trained on | seed | plaza |      station |",
        "| --------------- | ---------: | ---: | ----: | -----------: |",
        "| bn              |      plaza |    0 |  50.0 | 20.0 (-30.0) |",
        "| ibn_b           |      plaza |    0 |     - |         40.0 |",
        "| bn              |      plaza |    1 |  55.0 | 25.0 (-30.0) |",
    ]


def test_several_sources_drop_against_the_mean_of_their_own():
    source = "plaza+street"
    rows = [Row("bn", source, target, 0, mAP, 0.6, 0.7, 0.1, 10, 20, target != "station") for target, mAP in
            (("plaza", 0.5), ("street", 0.4), ("station", 0.2))]  # fmt: skip
    assert (
        gap_table(rows).splitlines()[2] == "| bn              | plaza+street |    0 |  50.0 |   40.0 | 20.0 (-25.0) |"
    )


def test_target_table_by_hand():
    lines = target_table([row(), row(target="station", mAP=0.123)]).splitlines()
    assert lines[2] == "| plaza (in-domain) | 50.0 |   60.0 |   70.0 | 10.0 |      10 |      20 |"
    assert lines[3].startswith("| station           | 12.3 |")


def test_rows_of_results():
    figures = {"mAP": 0.5, "cmc": [0.6, 0, 0, 0, 0.7], "mINP": 0.1, "num_valid_queries": 10, "num_gallery": 20}
    run = {"model": "bn", "source": "plaza", "sources": ["plaza"], "seed": 0}
    assert rows_of({"run": run, "targets": {"plaza": figures}}) == [row()]
    trained = run | {"training_device": "cuda", "training_precision": "bf16"}
    (found,) = rows_of(
        {"run": trained, "targets": {"plaza": figures | {"device": "cpu (AVX2)", "precision": "float32"}}}
    )
    assert (found.train_device, found.train_precision, found.device, found.precision) == (
        "cuda", "bf16", "cpu (AVX2)", "float32",
    )  # fmt: skip


def test_a_network_adapted_to_another_site_is_not_at_home_on_its_source():
    figures = {"mAP": 0.5, "cmc": [0.6, 0, 0, 0, 0.7], "mINP": 0.1, "num_valid_queries": 10, "num_gallery": 20}
    for site, home in (("station", False), ("plaza", True)):
        run = {"model": "bn", "source": "plaza", "sources": ["plaza"], "seed": 0, "adapted": {"data": site}}
        rows = rows_of({"run": run, "targets": {"plaza": figures, "station": figures}})
        assert [told.in_domain for told in rows] == [home, False] and {told.adapted for told in rows} == {site}


def test_gap_plot_hatches_every_target_of_several_sources(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(side_by_side, "png", lambda figure: drawn.append(figure) or b"")
    rows = [Row("bn", "a+b", target, 0, 0.5, 0.6, 0.7, 0.1, 10, 20, target != "c") for target in ("a", "b", "c")]
    gap_plot(rows, tmp_path / "gap.png")
    bars = [(to_hex(bar.get_facecolor()).upper(), bar.get_hatch()) for bar in drawn[0].axes[0].patches]
    assert bars == list(zip(side_by_side.COLORS[:3], [side_by_side.HATCH, side_by_side.HATCH, None], strict=True))


def test_gap_plot_gives_a_target_one_colour_and_draws_intervals(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(side_by_side, "png", lambda figure: drawn.append(figure) or b"")
    bounded = replace(row(mAP=0.5), mAP_low=0.4, mAP_high=0.7)
    gap_plot([bounded, row("net", "not known", "plaza", None, 0.9)], tmp_path / "gap.png")
    (axes,) = drawn[0].axes
    assert {to_hex(bar.get_facecolor()).upper() for bar in axes.patches} == {side_by_side.COLORS[0]}
    assert [bar.get_hatch() for bar in axes.patches] == [side_by_side.HATCH, None]
    assert [list(line.get_xdata()) for line in axes.lines] == [pytest.approx([40, 70])]
    assert axes.get_xlabel() == "mAP in %, with 95 % intervals over identities"
    assert [text.get_text() for text in drawn[0].legends[0].get_texts()] == [
        "on plaza", "hatched: in-domain (the source's own test split)",
    ]  # fmt: skip


def test_gap_plot_says_what_an_adapted_network_has_seen_and_no_seed_of_a_foreign_one(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr("reid.report.side_by_side.png", lambda figure: drawn.append(figure) or b"")
    adapted = replace(row("site", target="station"), adapted="station")
    gap_plot([row(), row(target="station"), adapted, row("net", "not known", "station", None)], tmp_path / "gap.png")
    (axes,) = drawn[0].axes
    assert [label.get_text() for label in axes.get_yticklabels()][1:] == [
        "site †\n(trained on plaza, AdaBN station)", "net",
    ]  # fmt: skip
    assert axes.get_xlabel() == "mAP in %"
    assert not any("never seen" in text.get_text() for text in drawn[0].legends[0].get_texts())
    gap_plot([row(), row(target="station")], tmp_path / "gap.png")
    assert drawn[1].axes[0].get_xlabel() == "mAP in %, seed 0"
    told = [text.get_text() for text in drawn[1].legends[0].get_texts()]
    assert "on station, never seen in training" in told and "on plaza" in told


def test_gap_plot_draws_a_png(tmp_path):
    gap_plot(
        [row(), row(target="station", mAP=0.2), row("ibn_b"), row("ibn_b", target="street")], tmp_path / "p" / "gap.png"
    )
    gap_plot([row(r"a $\frac b$", source=r"$\frac", target=r"$\frac b$")], tmp_path / "odd.png")
    content = (tmp_path / "p" / "gap.png").read_bytes()
    assert content.startswith(b"\x89PNG") and len(content) > 5000


def test_a_target_not_compared_with_the_training_images_is_marked():
    from reid.evaluation.targets import CHECKED as WRITTEN

    assert CHECKED == WRITTEN
    unchecked = replace(row(target="station", mAP=0.2), training_images="not checked: plaza: no folder data/plaza")
    lines = target_table([row(), unchecked]).splitlines()
    assert lines[2].startswith("| plaza (in-domain)                         |")
    assert lines[3].startswith("| station (not checked for training images) |")
    own = row("ibn", target="station", mAP=0.3)
    assert "plaza | station (not checked for training images) |" in gap_table([row(), unchecked, own]).splitlines()[0]
    figures = {"mAP": 0.5, "cmc": [0.6, 0, 0, 0, 0.7], "mINP": 0.1, "num_valid_queries": 10, "num_gallery": 20}
    run = {"model": "bn", "source": "plaza", "sources": ["plaza"], "seed": 0}
    for said in ("checked", unchecked.training_images):
        results = {"run": run, "targets": {"plaza": figures | {"training_images": said}}}
        assert rows_of(results)[0].training_images == said


def test_intervals_stand_behind_figures():
    shown = replace(row(), mAP_low=0.4, mAP_high=0.625, rank1_low=0.5, rank1_high=0.75)
    assert (
        target_table([shown])
        .splitlines()[2]
        .startswith("| plaza (in-domain) | 50.0 [40.0, 62.5] | 60.0 [50.0, 75.0] |")
    )


def test_protocols_do_not_share_a_table():
    other = replace(row(target="station (any camera)", mAP=0.9), protocol="any-camera")
    for table in (target_table, gap_table):
        usual, any_camera = table([row(), other, row(target="station", mAP=0.2)]).split("\n\nProtocol any-camera:\n\n")
        assert "any camera" not in usual and "station" in usual and any_camera.count("\n") == 2
    assert "90.0 (" not in gap_table([row(), other])  # no drop from the one to the other


def test_rows_of_networks_of_other_origin():
    figures = {"mAP": 0.5, "cmc": [0.6, 0, 0, 0, 0.7], "mINP": 0.1, "num_valid_queries": 10, "num_gallery": 20}
    run = {"model": "net", "source": "not known", "sources": [], "seed": None}
    (found,) = rows_of({"run": run, "targets": {"plaza": figures | {"training_images": "not checked"}}})
    assert found.seed is None and not found.in_domain
    assert gap_table([found]).splitlines()[2].split() == ["|", "net", "|", "not", "known", "|", "-", "|", "50.0", "|"]
    home = {"model": "bn", "source": "plaza", "sources": ["plaza"], "seed": 0}
    (found,) = rows_of({"run": home, "targets": {"plaza (any camera)": figures | {"protocol": "any-camera"}}})
    assert found.in_domain and found.protocol == "any-camera"
