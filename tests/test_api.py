"""What `import reid` offers: the same features, figures and answers as the commands, and refusals that name what."""

import doctest
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from conftest import ROOT
from hypothesis import given, settings
from hypothesis import strategies as st
from small_gallery import COLOURS, STRANGER, Colours, calibration, crop, lines
from trees import manifest_tree, write_image

import reid
from reid.cli import main
from reid.config import load_config
from reid.engine.train import train
from reid.evaluation.results import read_results
from reid.networks import load as load_network


@pytest.fixture
def frame() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)


class Corners:
    """A network whose feature tells the crop: its size, and its first and last pixel."""

    origin = Colours.origin.__class__("corners", 8, "none", "none")

    def embed(self, crops):
        rows = [[*image.shape[:2], *image[0, 0], *image[-1, -1]] for image in crops]
        return np.array(rows, np.float32).reshape(-1, 8)


def unit(rows) -> np.ndarray:
    rows = np.asarray(rows, np.float64)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_importing_loads_nothing_of_it_until_it_is_asked_for():
    code = "import sys, reid; dir(reid), reid.InputError, reid.__version__; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    modules = done.stdout.split()
    assert done.returncode == 0 and [name for name in modules if name.split(".")[0] == "reid"] == [
        "reid.errors",
        "reid",
    ]
    heavy = {"torch", "numpy", "pandas", "cv2", "faiss", "PIL", "pydantic", "yaml", "scipy", "matplotlib"}
    assert not heavy & {name.split(".")[0] for name in modules}


def test_every_name_is_there_documented_and_typed():
    assert set(reid.__all__) <= set(dir(reid)) and reid.InputError.__module__ == "reid.errors"
    text, stub = (ROOT / "docs" / "python.md").read_text(), (ROOT / "reid" / "__init__.pyi").read_text()
    for name in reid.__all__:
        value = getattr(reid, name)
        assert isinstance(value, str) or value.__doc__, name
        assert f"`{name}`" in text and f"{name}" in stub, name
    with pytest.raises(AttributeError, match="module 'reid' has no attribute 'lode'"):
        reid.lode  # noqa: B018


def test_a_run_gives_the_network_s_features(trained, frame):
    _, folder = trained
    model, network = reid.load(folder, ["threads=1"]), load_network(folder)
    boxes = [[0, 0, 10, 20], [5, 7, 80, 60], [30, 0, 31, 60]]
    crops = [frame[0:20, 0:10], frame[7:60, 5:80], frame[0:60, 30:31]]
    expected = network.embed(crops)
    assert (model.name, model.width, model.fingerprint) == (folder.name, 64, network.origin.fingerprint)
    assert model.embed(crops).tobytes() == expected.tobytes()
    features = model(frame, boxes)
    assert features.dtype == np.float32 and features.shape == (3, 64)
    np.testing.assert_allclose(features, unit(expected), atol=1e-6)
    bgr = np.ascontiguousarray(frame[..., ::-1])
    assert model(bgr[..., ::-1], np.array(boxes, np.float32)).tobytes() == features.tobytes()
    for nobody in ([], np.empty((0, 4)), np.empty((0, 4), np.int64)):
        empty = model(frame, nobody)
        assert empty.shape == (0, 64) and empty.dtype == np.float32
    assert model.embed([]).shape == (0, 64)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.floats(-30, 130, width=32), min_size=4, max_size=4))
def test_a_box_is_the_pixels_that_it_touches(box):
    """Against a look at each pixel: the one at (x, y) covers x to x + 1, y to y + 1."""
    frame = np.random.default_rng(1).integers(1, 256, (60, 80, 3), np.uint8)
    left, top, right, bottom = box
    columns = [x for x in range(80) if x < right and x + 1 > left]
    rows = [y for y in range(60) if y < bottom and y + 1 > top]
    model = reid.Model(Corners())
    if right <= left or bottom <= top or not columns or not rows:
        with pytest.raises(reid.InputError, match=r"^box 0, \["):
            model(frame, [box])
        return
    crop = frame[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    np.testing.assert_allclose(model(frame, [box]), unit(Corners().embed([crop])), atol=1e-6)


@pytest.mark.parametrize(
    ("boxes", "message"),
    [
        (
            [[0, 0, 5, 5], [5, 0, 5, 5]],
            r"box 1, \[5.0, 0.0, 5.0, 5.0\]: is empty: right must exceed left, .*1 such of 2",
        ),
        ([[0, 9, 5, 8]], r"box 0, .* is empty"),
        (
            [[80, 0, 90, 5], [0, 0, 5, 5], [-9, -9, 0, 0]],
            r"box 0, .* outside the frame of 80 x 60 pixels \(2 such of 3\)",
        ),
        ([[0, 0, float("nan"), 5]], "box 0, .* is no number"),
        ([[0, 0, float("inf"), 5]], "box 0, .* is no number"),
        ([[0, 0, 5]], r"boxes: expected \(N, 4\) left, top, right, bottom, got \(1, 3\)"),
        ([0, 0, 5, 5], r"boxes: expected \(N, 4\) .* got \(4,\)"),
        ([[0, 0, 5, 5], [1]], r"boxes: expected \(N, 4\) left"),
        ([["0", "0", "5", "5"]], r"boxes: expected \(N, 4\) .* got \(1, 4\) <U1"),
        (np.empty((0, 5)), r"boxes: expected \(N, 4\) .* got \(0, 5\)"),
        (torch.empty((1, 4), device="meta"), r"boxes: expected \(N, 4\) .*: can't convert meta device"),
        (torch.ones((1, 4), requires_grad=True), r"boxes: expected \(N, 4\) .* requires grad"),
    ],
)
def test_a_bad_box_is_named(frame, boxes, message):
    with pytest.raises(reid.InputError, match=message):
        reid.Model(Corners())(frame, boxes)


def test_a_bad_frame_crop_or_feature_is_named(frame):
    model = reid.Model(Corners())
    for bad in (frame.astype(np.float32), frame[..., 0], frame[..., :2], frame[:0], frame.tolist()):
        with pytest.raises(reid.InputError, match=r"^frame: expected .*\(h, w, 3\) uint8 RGB, got"):
            model(bad, [[0, 0, 5, 5]])
        with pytest.raises(reid.InputError, match="^crop 1: expected"):
            model.embed([frame, bad])

    class Blind(Corners):
        def embed(self, crops):
            return np.zeros((len(crops), 8), np.float32)

    with pytest.raises(reid.InputError, match="corners: features of the boxes: row 0 is all zeros"):
        reid.Model(Blind())(frame, [[0, 0, 5, 5]])
    with pytest.raises(reid.InputError, match="nowhere"):
        reid.load("nowhere")
    with pytest.raises(reid.InputError, match=r"overrides: 'device=cpu' is a text; expected a list of them: \['dev"):
        reid.load("nowhere", "device=cpu")


def test_figures_are_those_of_the_command(trained, capsys):
    _, folder = trained
    model = reid.load(folder)
    results = reid.evaluate(model, "market1501")
    assert results["targets"]["market1501"] == read_results(folder)["targets"]["market1501"]
    assert main(["evaluate", "--model", str(folder), "--targets", "market1501"]) == 0
    assert f" {100 * results['targets']['market1501']['mAP']:.1f} [" in capsys.readouterr().out
    assert reid.evaluate(folder, ["market1501"]) == results  # by name, and nothing was computed again
    assert list(reid.evaluate(model, ["market1501"], adabn="market1501")["targets"]) == [
        "market1501 (AdaBN market1501)"
    ]
    assert list(reid.evaluate(model, "market1501", protocol="any-camera")["targets"]) == ["market1501 (any camera)"]
    with pytest.raises(reid.InputError, match="protocol: 'any' is not one of cross-camera, any-camera"):
        reid.evaluate(model, "market1501", protocol="any")
    with pytest.raises(reid.InputError, match="nowhere"):
        reid.evaluate(model, Path("nowhere"))
    with pytest.raises(reid.InputError, match="targets: none"):
        reid.evaluate(model, [])


def test_a_gallery_answers_and_forgets(tmp_path):
    people = [name for name in COLOURS if name]
    crops = [crop(COLOURS[name]) for name in people]
    model, where = reid.Model(Colours()), tmp_path / "gallery"
    with pytest.raises(reid.InputError, match="is not a gallery"):
        reid.open_gallery(where, model)
    with pytest.raises(reid.InputError, match="create: a new gallery needs the model"):
        reid.open_gallery(where, create=True)
    assert not where.exists()
    with reid.open_gallery(where, model, create=True) as gallery:
        entries = [reid.Entry(source=f"{name}.png", camera="door", identity=name) for name in people]
        ids = gallery.add(crops, entries)
        with pytest.raises(reid.InputError, match="1 crops and 2 entries"):
            gallery.add(crops[:1], entries[:2])
        with pytest.raises(reid.InputError, match="crop 1: expected an array"):
            gallery.add([crops[0], None], entries[:2])
        answers = gallery.search([crop(COLOURS[name], brighter=5) for name in people], k=2)
        assert [answer.hits[0].entry.identity for answer in answers] == people and answers[0].nobody is None
        assert all(len(answer.hits) == 2 for answer in answers)
        assert gallery.search(crops[:1], wanted=reid.Filter(cameras=("hall",)))[0].hits == ()
        assert gallery.search(crops[:1], wanted=reid.Filter(without=("door",)))[0].hits == ()
        assert gallery.store.thumbnails(ids)[0].startswith(b"\xff\xd8")
        with pytest.raises(reid.InputError, match="k: expected at least 1, got 0"):
            gallery.search(crops, k=0)
        gallery.forget(ids[:1])
        with pytest.raises(reid.InputError, match=str(ids[0])):
            gallery.forget(ids[:1])
        assert len(gallery) == len(people) - 1
        records = [(who, action, len(entries)) for who, action, entries, _ in lines(gallery.store)]
        assert records == [
            ("python", "add", 5), ("python", "search", 5), ("python", "search", 0), ("python", "search", 0),
            ("python", "forget", 1),
        ]  # fmt: skip
    with reid.open_gallery(str(where)) as gallery:
        assert len(gallery) == len(people) - 1
        with pytest.raises(reid.InputError, match="was opened without a model"):
            gallery.search(crops)
        with pytest.raises(reid.InputError, match="was opened without a model"):
            gallery.add(crops[:1], entries[:1])
    with reid.open_gallery(where, model, create=True) as gallery:  # where there is one it is opened
        assert len(gallery) == len(people) - 1
    with pytest.raises(reid.InputError, match="cannot be compared"):
        reid.open_gallery(where, reid.Model(Corners()))


def test_a_calibrated_gallery_says_what_distances_mean(tmp_path):
    """The nearest is the person, a stranger is nobody; so says the service, whatever asks."""
    model = reid.Model(Colours())
    with reid.open_gallery(tmp_path / "gallery", model, create=True) as people:
        people.add([crop(COLOURS["P1"])], [reid.Entry(source="1.png", camera="door", identity="P1")])
        people.service.calibrate(calibration())
        known, stranger = people.search([crop(COLOURS["P1"], brighter=3), crop(STRANGER)])
        assert (known.found, known.hits[0].judged.word, known.nobody) == ("near", "near", False)
        assert (stranger.found, stranger.hits[0].judged.word, stranger.nobody) == ("far", "far", True)
        assert known.hits[0].judged.probability > 0.9 and stranger.sentences[0].startswith("Nobody")
        one = people.service.search(people.service.features([crop(COLOURS["P1"], n) for n in (-5, 5)]), k=1)
        assert one.found == "near" and [each.camera for each in one.sightings()] == ["door"]


def test_the_examples_in_the_documentation_run(tiny):
    """On a small run of the width that they show."""
    people = manifest_tree(Path("path/to"))
    settings = [*tiny, "run=sites_ibn_b_seed0", "model.width=0.5", "optim.steps=1", "data.height=16"]
    train(load_config("market_bn.yaml", settings), progress=False)
    for number in range(4):
        write_image(Path(f"path/to/crops/{number}.png"), number // 2, number % 2, number, (32, 16))
    cv2.imwrite("frame.jpg", np.random.default_rng(0).integers(0, 256, (96, 128, 3), np.uint8))
    assert people.name == "people.csv"
    failed, tried = doctest.testfile(str(ROOT / "docs" / "python.md"), False, optionflags=doctest.ELLIPSIS)
    assert tried > 12 and failed == 0
