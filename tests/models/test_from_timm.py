"""Networks of timm as backbones, on the smallest that timm has; a ViT-S and a ConvNeXt-T of full size once."""

import re
import sys
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

timm = pytest.importorskip("timm")

from timm.layers import resample_abs_pos_embed  # noqa: E402

from reid.errors import InputError  # noqa: E402
from reid.models import Embedder, check_backbone, make_backbone  # noqa: E402
from reid.models import from_timm as module  # noqa: E402
from reid.models.weights import check_weights, load_weights  # noqa: E402

SIZE = (64, 32)


def backbone(name: str = "test_vit", seed: int = 0, size: tuple[int, int] = SIZE) -> module.TimmBackbone:
    torch.manual_seed(seed)
    made = make_backbone(f"timm:{name}", size=size)
    assert isinstance(made, module.TimmBackbone)
    return made.eval()


def images(n: int = 3, size: tuple[int, int] = SIZE) -> torch.Tensor:
    return torch.randn(n, 3, *size, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(("name", "width"), [("vit_small_patch16_224", 384), ("convnext_tiny", 768)])
def test_the_vector_is_what_the_classifier_would_get(name: str, width: int) -> None:
    made = backbone(name)
    torch.manual_seed(0)
    whole = timm.create_model(name, num_classes=5, **({"img_size": SIZE} if "vit" in name else {})).eval()
    whole.load_state_dict(made.timm.state_dict(), strict=False)
    classifier = whole.get_classifier()
    heard = []
    classifier.register_forward_pre_hook(lambda _, inputs: heard.append(inputs[0]))
    with torch.no_grad():
        vectors = made.pooled(images())
        whole(images())
    assert vectors.shape == (3, made.channels) == (3, width)
    torch.testing.assert_close(vectors, heard[0])


@pytest.mark.parametrize("name", ["test_vit", "test_convnext"])
def test_an_embedder_trains_on_it(name: str) -> None:
    model = Embedder(backbone(name), num_classes=4).train()
    with torch.autocast("cpu", torch.bfloat16):
        out = model(images(4))
    assert out.features.dtype == torch.float32 and out.features.shape == (4, model.channels)
    out.logits.square().sum().backward()
    assert all(p.grad is not None for name, p in model.backbone.named_parameters())
    assert model.eval()(images()).shape == (3, model.channels)


def test_seeds_decide_the_weights() -> None:
    first, again, other = backbone(), backbone(), backbone(seed=1)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))
    assert not torch.equal(first.timm.patch_embed.proj.weight, other.timm.patch_embed.proj.weight)


def test_the_size_lays_out_a_vits_patches() -> None:
    assert backbone(size=(64, 32)).timm.patch_embed.grid_size == (4, 2)
    assert backbone(size=(96, 80)).timm.patch_embed.grid_size == (6, 5)
    for name in ("test_vit", "vit_tiny_patch16_224"):  # one asks for whole patches itself
        with pytest.raises(InputError, match="60 x 32 pixels do not"):
            backbone(name, size=(60, 32))
    with pytest.raises(InputError, match="images of 8 x 8 pixels do not go through it"):
        backbone("test_convnext", size=(8, 8))


def test_the_meta_device_checks_shapes_without_memory() -> None:
    for name in ("test_vit", "test_convnext"):
        with torch.device("meta"):
            made = Embedder(make_backbone(f"timm:{name}", size=SIZE), 2).backbone.train()
            assert made(torch.empty(4, 3, *SIZE)).shape == (4, 64)


def test_a_convnext_has_four_stages_and_a_vit_none() -> None:
    made = backbone("test_convnext")
    with torch.no_grad():
        maps = made.stages(images())
        x = made.timm.stem(images())
        for stage, found in zip(made.timm.stages, maps, strict=True):
            x = stage(x)
            torch.testing.assert_close(found, x)
    assert made.ends_in_instance_norm == (False,) * 4
    with pytest.raises(InputError, match="timm:test_vit: has no stages of falling resolution"):
        backbone().stages(images())
    assert backbone().ends_in_instance_norm == ()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("timm:vit_smal", "no network 'vit_smal'; choices: vit_small_"),
        ("timm:vit_small_patch16_224.mine", "'mine' is none of the weights.*augreg_in1k"),
        ("timm:resnet50_ibn_b", "timm has no IBN networks; this project's are named without 'timm:'"),
        ("timm:", "no network ''"),
        ("resnet5", "'resnet5' is not one of resnet18, .*timm:NAME"),
    ],
)
def test_a_wrong_name_is_refused_with_the_choices(name: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_backbone(name)
    with pytest.raises(InputError, match=message):
        make_backbone(name)


@pytest.mark.parametrize(("key", "value"), [("last_stride", 2), ("width", 0.5), ("mixstyle", 0.3), ("pooling", "gem")])
def test_settings_of_the_resnets_are_refused(key: str, value: float | str) -> None:
    with pytest.raises(
        InputError, match=rf"{key} {value!r}: a network of timm \(timm:test_vit\) is built as published"
    ):
        make_backbone("timm:test_vit", **{key: value})  # type: ignore[arg-type]
    assert make_backbone("resnet18", **{"width": 0.25, key: value}).channels  # type: ignore[arg-type]


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(InputError, match=r"pip install 'reid-gap\[timm\]'"):
        check_backbone("timm:test_vit")


# --- weights ----------------------------------------------------------------------------------------------------------


def whole_file(folder: Path, name: str, suffix: str = ".pth") -> tuple[Path, dict[str, torch.Tensor]]:
    """A file as timm publishes them: the size that the network is named for, with a classifier."""
    torch.manual_seed(7)
    state = timm.create_model(name, num_classes=10).state_dict()
    path = folder / f"{name}{suffix}"
    if suffix == ".safetensors":
        safetensors.torch.save_file(state, path)
    else:
        torch.save(state, path)
    return path, state


@pytest.mark.parametrize("name", ["test_vit", "test_convnext"])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_published_file_fits_but_for_its_classifier(tmp_path: Path, name: str, suffix: str) -> None:
    path, state = whole_file(tmp_path, name, suffix)
    made = backbone(name)
    report = load_weights(made, f"timm:{name}", str(path))
    positions = ["pos_embed"] if name == "test_vit" else []
    assert report.resampled == positions and report.missing == []
    assert sorted(report.unused) == sorted(key for key in state if re.match(r"head\.(fc\.)?(weight|bias)$", key))
    for key, value in made.timm.state_dict().items():
        if key not in positions:
            assert torch.equal(value, state[key]), key
    if positions:
        assert "pos_embed resampled" in report.summary()
        expected = resample_abs_pos_embed(state["pos_embed"], new_size=[4, 2], num_prefix_tokens=1)
        assert torch.equal(made.timm.pos_embed, expected)


def test_a_checkpoint_of_an_embedder_gives_its_backbone(tmp_path: Path) -> None:
    trained = Embedder(backbone(seed=3), num_classes=4)
    safetensors.torch.save_file(trained.state_dict(), tmp_path / "w.safetensors")
    made = backbone()
    report = load_weights(made, "timm:test_vit", str(tmp_path / "w.safetensors"))
    assert all(torch.equal(a, b) for a, b in zip(made.parameters(), trained.backbone.parameters(), strict=True))
    assert {key.split(".")[0] for key in report.unused} == {"neck", "classifier"} and not report.resampled


@pytest.mark.parametrize("key", ["blocks.0.norm1.weight", "cls_token", "norm.bias"])
def test_a_file_that_does_not_fit_is_refused_and_changes_nothing(tmp_path: Path, key: str) -> None:
    path, state = whole_file(tmp_path, "test_vit")
    for wrong, message in (
        ({name: value for name, value in state.items() if name != key}, f"{key} is missing"),
        ({**state, key: state[key][..., :-1]}, f"{key} is "),
        ({**state, key: state[key] * np.nan}, f"{key} is not finite"),
        ({**state, "blocks.99.norm1.weight": torch.ones(3)}, "blocks.99.norm1.weight is left over"),
        ({**state, "pos_embed": torch.ones(1, 12, 64)}, r"pos_embed is \(1, 12, 64\)"),
    ):
        torch.save(wrong, path)
        made = backbone()
        with pytest.raises(InputError, match=message):
            load_weights(made, "timm:test_vit", str(path))
        assert all(torch.equal(a, b) for a, b in zip(made.parameters(), backbone().parameters(), strict=True))


def test_published_weights_come_by_timms_download(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, state = whole_file(tmp_path, "test_convnext")
    made = backbone("test_convnext")
    create = timm.create_model

    def from_file(name: str, pretrained: bool = False, **arguments: object) -> torch.nn.Module:
        return create(name, pretrained=pretrained, pretrained_cfg_overlay={"file": str(path)}, **arguments)

    monkeypatch.setattr(timm, "create_model", from_file)
    check_weights("timm:test_convnext", 1, "imagenet")
    report = load_weights(made, "timm:test_convnext", "imagenet")
    assert torch.equal(made.timm.stem[0].weight, state["stem.0.weight"]) and "test_convnext" in report.origin

    monkeypatch.setattr(timm, "create_model", lambda *_, **__: (_ for _ in ()).throw(ConnectionError("no route")))
    with pytest.raises(InputError, match=r"could not get those of timm:test_convnext \(ConnectionError: no route\)"):
        load_weights(made, "timm:test_convnext", "imagenet")


def test_weights_that_nobody_published_are_refused() -> None:
    name = next(name for name in timm.list_models("*") if not timm.models.get_pretrained_cfg(name).has_weights)
    with pytest.raises(InputError, match=f"timm has none for timm:{name}; choices: none, or a file's path"):
        check_weights(f"timm:{name}", 1, "imagenet")
    check_weights(f"timm:{name}", 1, "none")
