"""Networks of torchreid and fast-reid against what the official code computes, and the files that hold them."""

import json
import logging
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from peers_formula import CLASSIFIERS, FEATURES, LAYOUTS, error, images, state
from PIL import Image
from runs import inputs_of
from torch import Tensor, nn

from reid.engine import extract
from reid.errors import InputError
from reid.files import sha256_of
from reid.networks.peers import PEERS, open_checkpoint, read_checkpoint
from reid.networks.peers import reading as peers_reading
from reid.networks.peers.fastreid import FastReidResNet, GeneralisedMean, NonLocal
from reid.networks.peers.kinds import FASTREID
from reid.networks.pytorch import staged

GOLDEN = sorted({key.rpartition("/")[0] for key in FEATURES})
SMALL = "torchreid/osnet_x0_25"


def filled(kind: str) -> nn.Module:
    network = PEERS[kind]().double().eval()
    network.load_state_dict(state(kind, classifier=False))
    return network


def flat(kind: str) -> dict[str, Tensor]:
    """A state dict of the kind's names and shapes that takes no memory, every number 0.5."""
    return {
        name: torch.tensor(0) if name.endswith("num_batches_tracked") else torch.tensor(0.5).expand(shape)
        for name, shape in LAYOUTS[kind].items()
    }


def test_all_layouts_are_of_peers() -> None:
    assert set(PEERS) == set(LAYOUTS) and len(PEERS) == 33


@pytest.mark.parametrize("kind", sorted(PEERS))
def test_names_order_and_shapes_are_the_official_ones(kind: str) -> None:
    with torch.device("meta"):
        network = PEERS[kind]()
    assert [(name, list(value.shape)) for name, value in network.state_dict().items()] == [
        (name, shape) for name, shape in LAYOUTS[kind].items() if not name.startswith(CLASSIFIERS)
    ]


@pytest.mark.parametrize("kind", GOLDEN)
def test_stages_and_feature_equal_the_official_ones(kind: str) -> None:
    network, x = filled(kind), images(kind)
    before = x.clone()
    outputs: dict[str, Tensor] = {}
    if kind.startswith("torchreid/"):
        for stage in [
            key.rpartition("/")[2] for key in FEATURES if key.startswith(f"{kind}/") and "feature" not in key
        ]:
            network.get_submodule(stage).register_forward_hook(
                lambda _, __, maps, stage=stage: outputs.update({stage: maps.mean(dim=(2, 3))})
            )
    else:
        network.heads.pool_layer.register_forward_hook(lambda _, __, pooled: outputs.update(pool=pooled))
        network.backbone.layer4.register_forward_hook(lambda _, __, maps: outputs.update(layer4=maps.mean(dim=(2, 3))))
    with torch.no_grad():
        outputs["feature"] = network(x)
        errors = {stage: error(value, f"{kind}/{stage}") for stage, value in outputs.items()}
        if not kind.startswith("torchreid/"):
            single = network.stages(x[:1])
            errors |= {f"layer{n}": error(maps.mean(dim=(2, 3)), f"{kind}/layer{n}", slice(1))
                       for n, maps in enumerate(single, start=1)}  # fmt: skip
        else:
            errors["single"] = error(network(x[1:]), f"{kind}/feature", slice(1, 2))
    assert max(errors.values()) < 1e-9, errors
    assert {f"{kind}/{stage}" for stage in errors} >= {key for key in FEATURES if key.startswith(f"{kind}/")}
    assert torch.equal(x, before)


@pytest.mark.parametrize("p", [1.0, 2.2, 3.0, 6.5])
def test_the_generalised_mean_against_loops(p: float) -> None:
    maps = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(0)).double()
    pool = GeneralisedMean(learnt=True).double()
    with torch.no_grad():
        pool.p.fill_(p)
    for image in range(2):
        for channel in range(3):
            values = [max(float(value), 1e-6) ** p for value in maps[image, channel].flatten()]
            assert pool(maps)[image, channel].item() == pytest.approx((sum(values) / 20) ** (1 / p), rel=1e-12)
    fixed = GeneralisedMean(learnt=False)
    assert not fixed.state_dict()
    with torch.no_grad():
        pool.p.fill_(3.0)
    torch.testing.assert_close(fixed(maps), pool(maps))


def test_a_non_local_block_against_loops() -> None:
    torch.manual_seed(0)
    block, x = NonLocal(8, 3).double().eval(), torch.randn(2, 8, 4, 3).double()
    with torch.no_grad():
        g, theta, phi = (layer(x).flatten(2) for layer in (block.g, block.theta, block.phi))
        y = torch.zeros(2, 3, 12).double()
        for i in range(12):
            for j in range(12):
                weight = (theta[:, :, i] * phi[:, :, j]).sum(dim=1, keepdim=True) / 12
                y[:, :, i] += weight * g[:, :, j]
        torch.testing.assert_close(block(x), block.W(y.view(2, 3, 4, 3)) + x)


@pytest.mark.parametrize(("kind", "size"), [("fastreid_v0.1.1/bagtricks_R50", 5), ("fastreid/bagtricks_R50", 4)])
def test_max_pooling_begins_before_or_at_the_first_pixel(kind: str, size: int) -> None:
    """Padded, the first window is the first 2 x 2 pixels; else the first 3 x 3."""
    with torch.device("meta"):
        pool = FastReidResNet(FASTREID[kind]).maxpool
    x = torch.arange(81.0).view(1, 1, 9, 9)
    first = x[0, 0, :2, :2].max() if FASTREID[kind].padded else x[0, 0, :3, :3].max()
    assert pool(x).shape == (1, 1, size, size) and pool(x)[0, 0, 0, 0] == first


def test_pixel_statistics_are_exact_in_any_precision() -> None:
    for kind in ("fastreid_v1.0.0/bagtricks_R50", "fastreid/bagtricks_R50"):
        network = PEERS[kind]()
        x = torch.tensor([123.675, 116.28, 103.53], dtype=torch.float64).view(1, 3, 1, 1)
        assert not network.normalised(x).any()
        std = torch.tensor([58.395, 57.12, 57.375], dtype=torch.float64).view(1, 3, 1, 1)
        torch.testing.assert_close(network.normalised(x + std), torch.ones_like(x), rtol=1e-14, atol=0)


def ambiguous(kind: str) -> bool:
    """AGW of version 0.1.1 has the tensors of SBS: the file's name tells."""
    return kind.startswith("fastreid_v0.1.1/AGW")


@pytest.mark.parametrize("kind", sorted(PEERS))
def test_every_kind_is_recognised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    path = tmp_path / ("market_agw.pth" if ambiguous(kind) else "w.pth")
    path.touch()
    monkeypatch.setattr(peers_reading, "read_tensors", lambda _: {"model": flat(kind)})
    recognised = read_checkpoint(path)
    assert recognised.kind == kind and not recognised.network.training
    size = (384, 128) if "/sbs_" in kind else (256, 128)
    assert (recognised.input.height, recognised.input.width) == size
    torchreid = kind.startswith("torchreid/")
    assert (recognised.input.scale, recognised.input.interpolation) == (
        (1, "bilinear") if torchreid else (255, "bicubic")
    )
    held = recognised.network.state_dict()
    assert all((value == 0.5).all() for name, value in held.items() if not name.endswith("num_batches_tracked"))


def small(prefix: str = "") -> dict[str, Tensor]:
    return {
        prefix + name: value.float() if value.is_floating_point() else value for name, value in state(SMALL).items()
    }


@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module."])
@pytest.mark.parametrize(
    "wrapping", ["plain", "trainer", "model", "both", "turned", "twice", "named", "beside", "legacy", "safetensors"]
)
def test_every_wrapping(tmp_path: Path, prefix: str, wrapping: str) -> None:
    weights: dict[str, Any] = small(prefix)
    path = tmp_path / {"trainer": "model.pth.tar-60", "safetensors": "w.SafeTensors"}.get(wrapping, "w.pth")
    beside = {"epoch": 60, "rank1": np.float64(0.9), "optimizer": {"state": {0: {"step": torch.ones(1)}}, "lr": 1e-3}}
    content = {
        "trainer": {"state_dict": weights, **beside},
        "model": {"model": weights, **beside},
        "both": {"model": {"state_dict": weights}, **beside},
        "turned": {"state_dict": {"model": weights}, **beside},
        "twice": {"state_dict": {"state_dict": weights}},
        "named": {"state_dict": weights, "model": "osnet_x0_25", **beside},  # the network's name
        "beside": {**weights, "epoch": 60, "rank1": np.float64(0.9), "arch": "osnet_x0_25"},
    }.get(wrapping, weights)
    if wrapping == "safetensors":
        safetensors.torch.save_file(weights, path)
    else:
        torch.save(content, path, _use_new_zipfile_serialization=wrapping != "legacy")
    recognised = read_checkpoint(path)
    assert recognised.kind == SMALL
    assert error(recognised.network(images(SMALL).float()), f"{SMALL}/feature") < 1e-4


def test_without_counters_and_classifier_and_in_half_precision(tmp_path: Path) -> None:
    weights = {name: value.half() for name, value in small().items()
               if "num_batches" not in name and "classifier" not in name}  # fmt: skip
    torch.save(weights, tmp_path / "w.pth")
    recognised = read_checkpoint(tmp_path / "w.pth")
    assert {value.dtype for value in recognised.network.parameters()} == {torch.float32}
    assert error(recognised.network(images(SMALL).float()), f"{SMALL}/feature") < 1e-2


@pytest.mark.parametrize("leftover", [False, True])
def test_a_file_of_fastreid_gives_its_golden_features(tmp_path: Path, leftover: bool) -> None:
    """As its zoo's files are; and with the neck renamed, but a counter left under the old name (issue 693)."""
    kind = "fastreid_v0.1.1/sbs_R50-ibn"
    weights = {f"module.{name}": value.float() for name, value in state(kind).items()}
    if leftover:
        counter = weights["module.heads.bnneck.num_batches_tracked"]
        weights = {name.replace("bnneck", "bottleneck.0"): value for name, value in weights.items()}
        weights["module.heads.bnneck.num_batches_tracked"] = counter
    torch.save({"model": weights, "iteration": 7}, tmp_path / "market_sbs_R50-ibn.pth")
    recognised = read_checkpoint(tmp_path / "market_sbs_R50-ibn.pth")
    assert recognised.kind == kind
    with torch.no_grad():
        assert error(recognised.network(images(kind)[:1].float()), f"{kind}/feature", slice(1)) < 1e-4


def recognise(
    monkeypatch: pytest.MonkeyPatch, folder: Path, weights: dict[str, Any], name: str = "w.pth", kind: str | None = None
) -> Any:
    (folder / name).touch()
    monkeypatch.setattr(peers_reading, "read_tensors", lambda _: weights)
    return read_checkpoint(folder / name, kind)


def test_the_shape_tells_the_width_of_non_local_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = flat("fastreid/sbs_R50")
    for name in [name for name in weights if ".NL_" in name]:
        inner = 256 if ".NL_2." in name else 512
        shape = [inner if size == 1 and place < 2 else size for place, size in enumerate(weights[name].shape)]
        weights[name] = weights[name] if ".W.1." in name else torch.tensor(0.5).expand(shape)
    block = recognise(monkeypatch, tmp_path, weights).network.backbone.NL_3[0]
    assert (block.g.out_channels, block.W[0].in_channels) == (512, 512)


def test_the_file_tells_more_than_the_kind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pixel statistics of one's own, and a learnt exponent where the latest AGW has a fixed one."""
    weights = flat("fastreid_v1.0.0/sbs_R50") | {"pixel_mean": torch.tensor([1.0, 2.0, 3.0]).view(1, 3, 1, 1)}
    recognised = recognise(monkeypatch, tmp_path, weights, kind="fastreid/AGW_R50")
    assert recognised.kind == "fastreid/AGW_R50" and recognised.input.height == 256
    network = recognised.network
    assert network.heads.pool_layer.p == 0.5 and not network.backbone.maxpool.padding
    torch.testing.assert_close(network.normalised(torch.full((1, 3, 1, 1), 2.0)).flatten(), torch.tensor([2.0, 0, -2]))


@pytest.mark.parametrize(("kind", "name", "exponent", "expected"), [
    ("fastreid/bagtricks_R50", "w.pth", 0.5, "fastreid/bagtricks_R50"),  # BoT pooled by GeM
    ("fastreid_v0.1.1/bagtricks_R50-ibn", "market_sbs.pth", 2.25, "fastreid_v0.1.1/sbs_R50-ibn"),  # SBS without blocks
])  # fmt: skip
def test_layers_are_those_that_the_file_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, name: str, exponent: float, expected: str
) -> None:
    weights = flat(kind) | {"heads.pool_layer.p": torch.full((1,), exponent)}
    recognised = recognise(monkeypatch, tmp_path, weights, name)
    network = recognised.network
    assert recognised.kind == expected and (recognised.input.height == 384) == ("/sbs_" in expected)
    assert network.heads.pool_layer.p == exponent and not network.backbone.has_non_local
    maps = torch.rand(2, 2048, 3, 2, generator=torch.Generator().manual_seed(0)) + 0.1
    pooled = (maps**exponent).mean(dim=(2, 3)) ** (1 / exponent)
    torch.testing.assert_close(network.heads(maps), (pooled - 0.5) / (0.5 + 1e-5) ** 0.5 * 0.5 + 0.5)


@pytest.mark.parametrize(("name", "kind", "warned"), [
    ("market_agw_R50.pth", "fastreid_v0.1.1/AGW_R50", False),
    ("market_sbs_R50.pth", "fastreid_v0.1.1/sbs_R50", False),
    ("model_final.pth", "fastreid_v0.1.1/sbs_R50", True),
])  # fmt: skip
def test_agw_and_sbs_are_told_apart_by_the_files_name(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    name: str,
    kind: str,
    warned: bool,
) -> None:
    with caplog.at_level(logging.WARNING):
        assert recognise(monkeypatch, tmp_path, flat("fastreid_v0.1.1/sbs_R50"), name).kind == kind
    assert ("fastreid_v0.1.1/AGW_R50:" in caplog.text) == warned


def test_the_kind_in_front_decides_the_max_pooling(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = flat("fastreid/bagtricks_R50")
    later = recognise(monkeypatch, tmp_path, weights)
    early = recognise(monkeypatch, tmp_path, weights, kind="fastreid_v0.1.1/bagtricks_R50")
    assert (later.kind, later.network.backbone.maxpool.padding) == ("fastreid/bagtricks_R50", 0)
    assert (early.kind, early.network.backbone.maxpool.padding) == ("fastreid_v0.1.1/bagtricks_R50", 1)
    assert peers_reading.split_kind("fastreid_v0.1.1/sbs_R50:a/b.pth") == ("fastreid_v0.1.1/sbs_R50", Path("a/b.pth"))
    assert peers_reading.split_kind("a/b:c.pth") == (None, Path("a/b:c.pth"))
    with pytest.raises(InputError, match=r"'fastreid/sbs_R18' is not one of torchreid/osnet_x1_0, .*fastreid/sbs_R50"):
        peers_reading.split_kind("fastreid/sbs_R18:b.pth")


def changed(**values: Any) -> dict[str, Any]:
    """The small state dict with some tensors exchanged; None takes one out. Names have `__` for a dot."""
    weights: dict[str, Any] = small("module.") | {f"module.{key.replace('__', '.')}": v for key, v in values.items()}
    return {key: value for key, value in weights.items() if value is not None}


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (changed(conv5__bn__bias=None), "taken for torchreid/osnet_x0_25, but 1 tensors.*: conv5.bn.bias is missing"),
        (changed(conv5__bn__bias=torch.ones(3)),
         r"module.conv5.bn.bias is \(3,\), the network's is \(128,\).*torchreid/ osnet_x1_0, .*fastreid_v0.1.1/"),
        (changed(conv5__bn__bias=torch.full((128,), torch.nan)), "module.conv5.bn.bias is not finite"),
        (changed(conv5__bn__bias=torch.ones(128, dtype=torch.int8)), "module.conv5.bn.bias is torch.int8"),
        (changed(conv5__bn__bias=3.0), "module.conv5.bn.bias is a float"),
        (changed(conv2__2__1__weight=torch.ones(3)), "module.conv2.2.1.weight is left over"),
        (changed(conv1__conv__weight=torch.ones(20, 3, 7, 7)), "looks like a torchreid/osnet_of 20 channels"),
        (changed(conv1__conv__weight=3), "looks like a torchreid/osnet_of 0 channels"),
        ({"encoder.0.weight": torch.ones(2), "encoder.0.bias": torch.ones(2)},
         "no known kind: its first tensors are 'encoder.0.weight', 'encoder.0.bias'; known kinds: torchreid/ osnet_x1"),
        ({"model": {"epoch": 3}}, "no state dict"),
        ([1, 2], "no state dict"),
        ({**small(), "module.conv5.bn.bias": torch.ones(128)}, "twice"),
        ({**flat("torchreid/resnet50"), "fc.weight": torch.ones(1000, 2048)}, "fc.weight is left over"),
        ({**flat("fastreid/bagtricks_R50"), "heads.bnneck.weight": torch.ones(2048)}, "heads.*weight is left over"),
        ({**flat("fastreid/bagtricks_R101-ibn"), "backbone.layer1.0.bn1.IN.weight": 3}, "IN.weight is a int"),
        ({key: value for key, value in flat("fastreid/bagtricks_R101-ibn").items() if ".IN." not in key},
         "no known kind: looks like a fastreid/bagtricks_R101;"),
        ({"model.classifier.weight": torch.ones(2), "model.neck.weight": torch.ones(2)},
         "a checkpoint of this project; give its run's folder"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: Any, named: str) -> None:
    with pytest.raises(InputError, match=named) as caught:
        recognise(monkeypatch, tmp_path, content)
    assert str(tmp_path / "w.pth") in str(caught.value)


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    (tmp_path / "w.pth").write_bytes(pickle.dumps(Path.touch, protocol=2))
    (tmp_path / "cut.pth").write_bytes(b"PK\3\4")
    for name, named in {
        "w.pth": "nothing in it was run", "cut.pth": "damaged", "absent.pth": "no such file", "w.pkl": "ends in .pth",
    }.items():  # fmt: skip
        with pytest.raises(InputError, match=named) as caught:
            read_checkpoint(tmp_path / name)
        assert str(tmp_path / name) in str(caught.value)


def how(flip: bool = False) -> extract.Testing:
    return extract.Testing(
        placement=extract.Placement(torch.device("cpu"), threads=1), roots=None, batch_size=2, workers=0, flip=flip,  # type: ignore[arg-type]
        distance="cosine", top_k=50, seed=0, output="runs",
    )  # fmt: skip


@pytest.mark.parametrize("flip", [False, True])
def test_a_checkpoint_is_fed_as_torchreid_feeds_it(tmp_path: Path, flip: bool) -> None:
    path = tmp_path / "osnet_market.pth"
    torch.save({"state_dict": small("module.")}, path)
    crops = [np.random.default_rng(n).integers(0, 256, (90 + n, 40, 3), np.uint8) for n in range(3)]
    network = open_checkpoint(path, how(flip))
    rows = []
    for crop in crops:
        resized = np.asarray(Image.fromarray(crop).resize((128, 256), Image.Resampling.BILINEAR)) / 255
        x = torch.from_numpy((resized - (0.485, 0.456, 0.406)) / (0.229, 0.224, 0.225)).permute(2, 0, 1)[None]
        with torch.no_grad():
            views = [filled(SMALL)(view)[0].numpy() for view in ([x, x.flip(3)] if flip else [x])]
        rows.append(np.mean(views, axis=0))
    embedded = network.embed(crops)
    assert embedded.dtype == np.float32 and embedded.shape == (3, 512)
    np.testing.assert_allclose(embedded, rows, atol=1e-4 * np.abs(rows).max())
    assert network.embed([]).shape == (0, 512)
    assert (network.origin.name, network.origin.width) == ("osnet_market", 512)
    assert network.origin.network == sha256_of(path)
    assert json.loads(network.origin.preprocessing) == {
        "kind": SMALL, "height": 256, "width": 128, "resize": "Pillow, bilinear", "colour": "rgb", "scale": 1,
        "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225], "flip": flip, "precision": "float32",
    }  # fmt: skip


def test_a_checkpoint_of_fastreid_is_fed_whole_pixels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kind = "fastreid/bagtricks_R50"
    weights, path = state(kind), tmp_path / "w.pth"
    path.touch()
    monkeypatch.setattr(peers_reading, "read_tensors", lambda _: {"model": weights})
    network = open_checkpoint(f"{kind}:{path}", how())
    crop = np.random.default_rng(0).integers(0, 256, (90, 40, 3), np.uint8)
    resized = np.asarray(Image.fromarray(crop).resize((128, 256), Image.Resampling.BICUBIC)).astype(np.float64)
    x = torch.from_numpy(resized).permute(2, 0, 1)[None]
    official = filled(kind)
    with torch.no_grad():
        expected = official(x).numpy()
        stages = official.backbone.stages(official.normalised(x))
    embedded = network.embed([crop])
    np.testing.assert_allclose(embedded, expected, atol=1e-4 * np.abs(expected).max())
    assert network.origin.width == 2048 and "bicubic" in network.origin.preprocessing
    extractor, backbone = staged(network)
    with torch.no_grad():
        seen = backbone.stages(inputs_of(extractor.transform, [crop]))
    for ours, wanted in zip(seen, stages, strict=True):
        torch.testing.assert_close(ours.double(), wanted, rtol=1e-3, atol=1e-4 * float(wanted.abs().max()))
