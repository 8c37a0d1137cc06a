import json
import operator
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import ROOT
from runs import inputs_of
from trees import manifest_tree

from reid.config import load_config
from reid.data.samples import hold_out
from reid.data.unlabelled import images_of
from reid.engine import build
from reid.engine.extract import exact_float32
from reid.engine.train import train
from reid.errors import InputError
from reid.models.backbone import GEM_EXPONENT, POOLINGS
from reid.networks.trained import load_network


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "model.backbone=resnet51",
            "command line: model.backbone: 'resnet51' is not one of resnet18, .*resnet50_ibn_b",
        ),
        ("sampler.name=kp", "command line: sampler.name: 'kp' is not one of pk, balanced, random"),
        ("losses.center={weight: 1}", "losses: 'center' is not one of identity, .*centre, triplet"),
        ("losses.triplet.margn=1", "losses: triplet: unknown key 'margn'; the keys here are weight, gather, margin"),
        ("losses.triplet.margin=-1", "losses: triplet margin -1"),
        ("losses.triplet.weight=-1", "losses: triplet.weight: expected a number of at least 0, got -1"),
        ("losses.triplet.weight=.nan", "losses: triplet.weight: expected a number of at least 0, got nan"),
        ("losses.identity.smoothing=null", "losses: identity.smoothing: expected a number, got None"),
        ("losses.triplet.cross_camera=1", "losses: triplet.cross_camera: expected true or false, got 1"),
        ("losses.arcface={margin: 2}", "losses: arcface margin 2.*wanted radians"),
        ("model.width=0.001", "command line: model.width: width 0.001: wanted"),
        (
            "losses={identity: {weight: 0}, triplet: {weight: 0}, centre: {weight: 0}}",
            "losses: every loss has weight 0",
        ),
        ("model.weights=none.pth", "command line: model.weights: .*none.pth"),
        ("data.source=market1502", "command line: data.source: .*market1502.* market1501"),
        ("targets=[market1502]", "command line: targets: .*market1502"),
        ("sync_batchnorm=true", "command line: sync_batchnorm: true: is computed on CUDA alone"),
        ("device=cuda:99", "command line: device: 'cuda:99': this machine has"),
    ],
)
def test_names_are_checked_before_anything_starts(tiny, tmp_path, override, message):
    config = load_config("market_bn.yaml", [*tiny, override])
    with pytest.raises(InputError, match=message):
        train(config, progress=False)
    assert not (tmp_path / "runs").exists()


def test_freezing_is_refused_where_no_loss_trains_the_head(tiny):
    settings = [*tiny, "data.source=market1501", "optim.freeze=1", "losses.identity.weight=0"]
    with pytest.raises(InputError, match="command line: optim.freeze: 1: no loss has anything to train"):
        build.check(load_config("sites_bn.yaml", settings))


def test_maps_or_batches_too_small_for_a_norm(tiny):
    for overrides, message in (
        (["data.height=16", "model.backbone=resnet18_ibn_a"], "does not go through resnet18_ibn_a"),
        (["sampler.identities=1", "sampler.images=1"], "sampler.identities: a batch, or a part, of one image"),
    ):
        with pytest.raises(InputError, match=message):
            build.check(load_config("market_bn.yaml", [*tiny, *overrides]))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["sampler.name=balanced"], "command line: sampler.name: balanced: needs several sources"),
        (
            ["sampler.name=balanced", "data.source=[market1501, msmt17]"],
            "command line: sampler.identities: 3: balanced needs a multiple of 2",
        ),
        (["sampler.accumulate=2"], "command line: sampler.identities: a batch of 3 identities does not make 2"),
        (
            ["sampler.accumulate=4", "sampler.name=random"],
            "command line: sampler.identities: a batch of 6 images does not make 4",
        ),
        (
            ["sampler.accumulate=2", "sampler.identities=7"],
            "a batch of 7 identities does not make 2 equal parts .*; choose 6 or 8 identities, or other parts",
        ),
        (
            ["optim.name=sgd", "optim.nesterov=true", "optim.momentum=0"],
            "command line: optim.nesterov: true: needs optim.momentum above 0",
        ),
        (
            ["sampler.accumulate=3"],
            "command line: sampler.identities: 3: none of 3 parts of a batch of sampler.name=pk holds two people, and",
        ),
        (
            ["sampler.images=1", "sampler.accumulate=3", "losses.triplet.weight=0"],
            "command line: sampler.identities: a batch, or a part, of one image: the BNNeck needs two",
        ),
        (
            ["model.width=1", "model.pooling=gem", "model.backbone=timm:test_vit"],
            "command line: model.pooling: pooling 'gem': a network",
        ),
    ],
)
def test_what_does_not_go_together_is_named(tiny, overrides, message):
    if "timm" in overrides[-1]:
        pytest.importorskip("timm", reason="timm is not installed (pip install -e '.[timm]')")
    with pytest.raises(InputError, match=message):
        build.check(load_config("market_bn.yaml", [*tiny, *overrides]))


def test_a_cache_that_holds_no_image_is_named_with_where_it_was_asked_for(tiny):
    config = load_config("market_bn.yaml", [*tiny, "data.cache=ram", "data.cache_gb=1e-9"])
    with pytest.raises(InputError, match="^command line: data.cache_gb: 1e-09: an image of"):
        train(config, progress=False)
    assert not config.run_folder.exists()


def test_few_identities_in_a_part_are_said(tiny):
    def said(*overrides: str) -> str:
        return build.few_identities(load_config("market_bn.yaml", [*tiny, "sampler.identities=12", *overrides]))

    assert "hardest pairs are sought among 6 identities (loss triplet)" in said("sampler.accumulate=2")
    for enough in (
        ["sampler.accumulate=1"],
        ["sampler.accumulate=2", "losses.triplet.weight=0"],
        ["sampler.accumulate=2", "sampler.name=random"],
        ["sampler.accumulate=2", "sampler.identities=16"],
    ):
        assert said(*enough) == ""


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        ([], ""),
        (["sampler.accumulate=2"], "2 parts in turn, each 6 of 12 people x 2 images"),
        (["sampler.accumulate=3", "sampler.name=random"], "3 parts in turn, each 8 of 24 images"),
    ],
)
def test_what_is_computed_at_once_is_said(tiny, overrides, sentence):
    assert build.shares(load_config("market_bn.yaml", [*tiny, "sampler.identities=12", *overrides])) == sentence


@pytest.fixture
def two_sources(tiny, market, tmp_path):
    """Overrides that train on two small trees."""
    return [*tiny, f"data.source=[market1501, {manifest_tree(tmp_path / 'more')}]", "sampler.identities=4"]


def test_each_images_source_is_known_also_of_those_that_are_left(two_sources):
    config = load_config("market_bn.yaml", two_sources)
    source = build.source(config)
    assert [int(domain) for domain in source.domains] == ["/more/" in name for name in source.samples.names]
    assert 0 < source.domains.mean() < 1
    kept, held = hold_out(source.samples, 0.4, seed=0)
    for left in (kept, held):
        assert source.domains_of(left.pids).tolist() == ["/more/" in name for name in left.names]
    assert not build.source(load_config("market_bn.yaml", two_sources[:-2])).domains.any()


def test_balanced_batches_of_a_config(two_sources):
    config = load_config("market_bn.yaml", [*two_sources, "sampler.name=balanced"])
    build.check(config)
    source = build.source(config)
    sampler = build.sampler(config, source.samples.pids, source.domains)
    assert all(source.domains[batch].tolist() == [0, 0, 1, 1] * 2 for batch in sampler.epoch(0))
    with pytest.raises(InputError, match="selection.holdout: leaves nobody of one of the sources"):
        build.sampler(config, source.samples.pids[:8], source.domains[:8])


def test_pooling_of_a_config(tiny):
    for pooling, state in (("average", False), ("max", False), ("gem", True)):
        network = build.embedder(load_config("market_bn.yaml", [*tiny, f"model.pooling={pooling}"]), 2)
        assert isinstance(network.backbone.pooling, POOLINGS[pooling])
        assert (GEM_EXPONENT in network.backbone.state_dict()) == state


DEAD = "the loss triplet would be 0 for ever; change that, or leave the loss out: losses.triplet.weight=0"


@pytest.mark.parametrize(("key", "what"), [("images", "two images of a person"), ("identities", "two people")])
def test_batches_without_pairs_are_refused_where_a_loss_needs_them(tiny, tmp_path, key, what):
    settings = [*tiny, f"sampler.{key}=1", "optim.steps=1"]
    message = f"command line: sampler.{key}: 1: no batch of sampler.name=pk holds {what}, and {DEAD}"
    for weights in ([], ["losses.identity.weight=0"]):
        with pytest.raises(InputError, match=message):
            train(load_config("market_bn.yaml", [*settings, *weights]), progress=False)
    assert not (tmp_path / "runs").exists()
    build.check(load_config("market_bn.yaml", [*settings, "losses.triplet.weight=0"]))
    build.check(load_config("market_bn.yaml", [*settings, "sampler.name=random"]))  # its batches are P * K of anyone


def test_labels_that_a_loss_cannot_learn_from(tiny):
    singles, one = np.arange(12), np.zeros(12, int)
    at_random = load_config("market_bn.yaml", [*tiny, "sampler.name=random"])
    with pytest.raises(InputError, match=f"sampler.name: random: no person has two images, and {DEAD}"):
        build.sampler(at_random, singles, one)
    with pytest.raises(InputError, match="data.source: one identity to train on"):
        build.sampler(at_random, one, one)
    build.sampler(
        load_config("market_bn.yaml", [*tiny, "sampler.name=random", "losses.triplet.weight=0"]), singles, one
    )


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ([], None),
        (["sampler.name=random"], r"sampler.name=random: \d+.\d% of the images in a batch .* needs; sampler.name=pk"),
        (["sampler.name=random", "losses.triplet.weight=0"], None),
    ],
)
def test_training_says_how_few_images_a_loss_of_pairs_learns_from(tiny, caplog, overrides, said):
    train(load_config("market_bn.yaml", [*tiny, "optim.steps=1", *overrides]), progress=False)
    lines = [line for line in caplog.messages if "beside them" in line]
    assert len(lines) == (said is not None) and (said is None or re.search(said, lines[0]))


def test_a_source_of_one_image_a_person_is_said(tiny):
    config, singles = load_config("market_bn.yaml", tiny), np.arange(12)
    said = build.few_pairs(config, build.sampler(config, singles, np.zeros(12, int)), singles)
    assert said.startswith("sampler.name=pk: 0.0% of the images") and "a single image meets only that one" in said


def test_precision_is_a_choice_and_never_emulated_by_itself(tiny, monkeypatch):
    def chosen(*overrides: str) -> torch.dtype | None:
        return build.placement(load_config("market_bn.yaml", [*tiny, "precision=auto", *overrides])).dtype

    assert chosen("precision=bf16") is torch.bfloat16 and chosen("precision=float32") is None
    for has in ({"avx512_f": True, "avx512_bf16": False, "amx_bf16": False}, {}):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda has=has: has, raising=False)
        assert chosen() is None
    for name in ("avx512_bf16", "amx_bf16"):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda name=name: {name: True}, raising=False)
        assert chosen() is torch.bfloat16


@pytest.mark.parametrize(
    ("cores", "processes", "device", "workers"),
    [
        *((1, 1, "cpu", 1), (2, 1, "cpu", 2), (64, 1, "cpu", 2), (4, 4, "cpu", 1), (2, 4, "cpu", 1)),
        *((64, 1, "cuda", 8), (6, 1, "cuda", 6), (64, 16, "cuda", 4)),
    ],
)
def test_workers_are_by_the_cores_unless_given(tiny, monkeypatch, cores, processes, device, workers):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(cores)), raising=False)
    monkeypatch.setattr(build, "device", lambda _: torch.device(device))
    monkeypatch.setenv("LOCAL_WORLD_SIZE", str(processes))
    assert build.workers(load_config("market_bn.yaml", [*tiny, "data.workers=null"])) == workers
    assert build.workers(load_config("market_bn.yaml", [*tiny, "data.workers=0"])) == 0


def test_the_cache_counts_the_processes_of_this_machine(tiny, monkeypatch):
    config = load_config("market_bn.yaml", [*tiny, "data.cache=ram", "data.cache_gb=1"])
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "3000000")
    with pytest.raises(InputError, match=r"data\.cache_gb: 1: .* in each of 3000000 processes"):
        build.image_cache(config, 10**6)


def test_bf16_trains(tiny):
    train(load_config("market_bn.yaml", [*tiny, "precision=bf16", "optim.steps=2"]), progress=False)


def test_standardising_is_part_of_the_test_transform(tiny):
    import numpy as np

    image = np.random.default_rng(0).integers(0, 99, (32, 16, 3), dtype=np.uint8)
    standardised = build.test_transform(load_config("market_bn.yaml", [*tiny, "transforms.standardise=true"]))
    assert abs(inputs_of(standardised, [image]).mean()) < 1e-4
    assert abs(inputs_of(build.test_transform(load_config("market_bn.yaml", tiny)), [image]).mean()) > 0.1


def test_a_folder_of_images_says_what_it_passes_over_and_refuses_names_that_cannot_be_kept(tiny, tmp_path, caplog):
    config = load_config("market_bn.yaml", tiny)
    (tmp_path / "crops").mkdir()
    for name in ("a.jpg", "b.gif"):
        (tmp_path / "crops" / name).touch()
    label, samples = images_of(build.roots(config), str(tmp_path / "crops"), training=False)
    assert (label, samples.names) == ("crops (folder)", ("a.jpg",))
    assert "1 pictures are not read" in caplog.text and "b.gif" in caplog.text
    (tmp_path / "crops" / os.fsdecode(b"\xff.jpg")).touch()
    with pytest.raises(InputError, match="not UTF-8"):
        images_of(build.roots(config), str(tmp_path / "crops"), training=False)


def float32_precisions() -> dict[str, str]:
    names = ["", "cuda.matmul", "cudnn", "cudnn.conv", "cudnn.rnn"]
    names += ["mkldnn", "mkldnn.matmul", "mkldnn.conv", "mkldnn.rnn"]
    parts = [operator.attrgetter(name)(torch.backends) if name else torch.backends for name in names]
    return {name: part.fp32_precision for name, part in zip(names, parts, strict=True)}


SET_BEFORE = {
    "nothing": "",
    "older switches": "torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True",
    "matmul": "torch.set_float32_matmul_precision('medium')",
    "each operation": "torch.backends.cudnn.conv.fp32_precision = torch.backends.cudnn.rnn.fp32_precision = 'tf32'; "
    "torch.backends.cuda.matmul.fp32_precision = 'tf32'; torch.backends.mkldnn.conv.fp32_precision = 'bf16'",
}


@pytest.mark.parametrize("before", SET_BEFORE)
def test_float32_is_ieee_whatever_was_set_before(before):
    """In a process of its own: what is set holds for all of it."""
    code = (
        f"import json, torch\n{SET_BEFORE[before]}\n"
        "from reid.engine import extract\nfrom test_build import float32_precisions\n"
        "extract.exact_float32()\nprint(json.dumps(float32_precisions()))"
    )
    paths = os.pathsep.join([str(Path(__file__).parent), str(ROOT / "tests"), str(ROOT)])
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], env={**os.environ, "PYTHONPATH": paths}, capture_output=True
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert len(found) == 9 and set(found.values()) == {"ieee"}


@pytest.fixture
def own_precision():
    yield
    exact_float32()


@pytest.mark.parametrize("what", ["train", "load_network"])
def test_whoever_takes_up_a_network_sets_float32(what, trained, own_precision):
    config, folder = trained
    torch.backends.cudnn.conv.fp32_precision = torch.backends.mkldnn.matmul.fp32_precision = "tf32"
    build.device(config)  # asks, and sets nothing
    assert float32_precisions()["cudnn.conv"] == "tf32"
    train(config, progress=False) if what == "train" else load_network(config, folder)
    assert set(float32_precisions().values()) == {"ieee"}


def test_bf16_is_asked_of_the_runs_own_device(tiny, monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda on: {0: (9, 0), 1: (7, 5), 2: (8, 0)}[on.index])
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    configs = [load_config("market_bn.yaml", [*tiny, "precision=auto", f"device=cuda:{number}"]) for number in range(3)]
    chosen = [build.placement(config).dtype for config in configs]
    assert chosen == [torch.bfloat16, torch.float16, torch.bfloat16]
