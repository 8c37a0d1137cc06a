import functools
import hashlib
import http.server
import pickle
import threading
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torchvision.models import ResNet50_Weights

from reid.errors import InputError
from reid.models import BACKBONES, Embedder, ResNet
from reid.models.weights import IBN_NET, check_weights, load_weights, published


def net(name: str = "resnet18", seed: int = 0, **arguments: Any) -> ResNet:
    torch.manual_seed(seed)
    return BACKBONES[name](**{"num_classes": None, "width": 0.25, **arguments})


def assert_same(found: ResNet, wanted: ResNet) -> None:
    """Each tensor of `found` equals `wanted`'s, which may have a classifier beside them."""
    tensors = wanted.state_dict()
    assert all(torch.equal(value, tensors[key]) for key, value in found.state_dict().items())


def assert_refused(path: Path, named: str, name: str = "resnet18") -> None:
    """`path` raises an InputError that matches `named` and leaves the backbone as it was."""
    backbone = net(name, seed=1)
    with pytest.raises(InputError, match=named) as caught:
        load_weights(backbone, name, str(path))
    assert str(path) in str(caught.value)
    assert_same(backbone, net(name, seed=1))


def test_none_leaves_the_backbone_alone() -> None:
    backbone = net()
    report = load_weights(backbone, "resnet18", "none")
    assert_same(backbone, net())
    assert report.origin == "none" and not report.loaded
    assert "random" in report.summary()


@pytest.mark.parametrize("name", ["resnet18", "resnet18_ibn_a", "resnet18_ibn_b"])
@pytest.mark.parametrize("file", ["w.pth", "w.pt", "w.safetensors", "legacy.pth"])
def test_local_file_round_trip(tmp_path: Path, name: str, file: str) -> None:
    source, path = net(name, num_classes=10), tmp_path / file
    if path.suffix == ".safetensors":
        safetensors.torch.save_file(source.state_dict(), path)
    else:
        torch.save(source.state_dict(), path, _use_new_zipfile_serialization=file != "legacy.pth")
    backbone = net(name, seed=1)
    report = load_weights(backbone, name, str(path))
    assert_same(backbone, source)
    assert report.loaded == list(backbone.state_dict())
    assert report.missing == [] and sorted(report.unused) == ["fc.bias", "fc.weight"]
    assert report.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert report.summary() == (
        f"weights {path} (sha256 {report.sha256[:8]}): {len(report.loaded)} tensors loaded, "
        f"0 batch counters missing, 2 unused ({', '.join(report.unused)})"
    )


@pytest.mark.parametrize("nesting", [("state_dict",), ("model",), ("model", "state_dict")])
@pytest.mark.parametrize("prefix", ["", "module.", "backbone.", "module.backbone.", "_orig_mod.backbone."])
def test_usual_nestings_and_prefixes(tmp_path: Path, nesting: tuple[str, ...], prefix: str) -> None:
    content: Any = OrderedDict((prefix + key, value) for key, value in net().state_dict().items())
    for key in reversed(nesting):
        content = {key: content, "epoch": 3}
    torch.save(content, tmp_path / "w.pth")
    backbone = net(seed=1)
    assert load_weights(backbone, "resnet18", str(tmp_path / "w.pth")).unused == []
    assert_same(backbone, net())


def test_an_embedders_file_gives_its_backbone(tmp_path: Path) -> None:
    safetensors.torch.save_file(Embedder(net(), num_classes=4).state_dict(), tmp_path / "w.safetensors")
    backbone = net(seed=1)
    report = load_weights(backbone, "resnet18", str(tmp_path / "w.safetensors"))
    assert_same(backbone, net())
    assert {key.split(".")[0] for key in report.unused} == {"neck", "classifier"}


def test_a_classifier_of_the_backbone_is_loaded_too(tmp_path: Path) -> None:
    torch.save(net(num_classes=10).state_dict(), tmp_path / "w.pth")
    backbone = net(seed=1, num_classes=10)
    assert load_weights(backbone, "resnet18", str(tmp_path / "w.pth")).unused == []
    assert_same(backbone, net(num_classes=10))
    with pytest.raises(InputError, match=r"fc.weight is \(10, 128\), the backbone's is \(3, 128\)"):
        load_weights(net(num_classes=3), "resnet18", str(tmp_path / "w.pth"))


def test_batch_counters_may_be_missing(tmp_path: Path) -> None:
    weights = {key: value for key, value in net().state_dict().items() if "num_batches_tracked" not in key}
    torch.save(weights, tmp_path / "w.pth")
    backbone = net(seed=1)
    report = load_weights(backbone, "resnet18", str(tmp_path / "w.pth"))
    assert_same(backbone, net())
    assert len(report.missing) == 20 and all(key.endswith("num_batches_tracked") for key in report.missing)


def test_gems_exponent_starts_anew_where_a_file_has_none(tmp_path: Path) -> None:
    torch.save(net().state_dict(), tmp_path / "plain.pth")
    backbone = net(seed=1, pooling="gem")
    report = load_weights(backbone, "resnet18", str(tmp_path / "plain.pth"))
    assert report.missing == ["pooling.p"] and backbone.pooling.p.item() == 3
    assert "0 batch counters missing, pooling.p starts anew, 0 unused" in report.summary()
    for key, value in net().state_dict().items():
        assert torch.equal(value, backbone.state_dict()[key])

    torch.nn.init.constant_(backbone.pooling.p, 4.5)
    torch.save(backbone.state_dict(), tmp_path / "gem.pth")
    again = net(seed=2, pooling="gem")
    assert load_weights(again, "resnet18", str(tmp_path / "gem.pth")).missing == []
    assert_same(again, backbone)
    assert load_weights(net(seed=2), "resnet18", str(tmp_path / "gem.pth")).unused == ["pooling.p"]
    torch.save(backbone.state_dict() | {"pooling.p": torch.ones(2)}, tmp_path / "bad.pth")
    with pytest.raises(InputError, match=r"pooling.p is \(2,\), the backbone's is \(1,\)"):
        load_weights(again, "resnet18", str(tmp_path / "bad.pth"))


@pytest.mark.parametrize(
    ("held", "wanted", "named"),
    [
        ("resnet18", "resnet18_ibn_b", r"layer1.1.IN.weight is missing"),
        ("resnet18", "resnet18_ibn_a", r"layer1.0.bn1.IN.weight is missing"),
        ("resnet18_ibn_b", "resnet18", r"bn1.running_mean is missing"),
        ("resnet18_ibn_a", "resnet18", r"layer1.0.bn1.weight is missing"),
        ("resnet34", "resnet18", r"layer1.2.conv1.weight is left over"),
        ("resnet34_ibn_b", "resnet18_ibn_b", r"layer1.1.IN.weight is missing"),
        ("resnet50", "resnet18", r"layer1.0.conv1.weight is \(16, 16, 1, 1\), the backbone's is \(16, 16, 3, 3\)"),
    ],
)
def test_another_architecture_is_refused(tmp_path: Path, held: str, wanted: str, named: str) -> None:
    torch.save(net(held).state_dict(), tmp_path / "w.pth")
    assert_refused(tmp_path / "w.pth", named, wanted)


def test_every_missing_tensor_counts(tmp_path: Path) -> None:
    for key in [key for key in net().state_dict() if not key.endswith("num_batches_tracked")][::7]:
        weights = net().state_dict()
        del weights[key]
        torch.save(weights, tmp_path / "w.pth")
        assert_refused(tmp_path / "w.pth", f"1 tensors do not fit: {key} is missing")


@pytest.mark.parametrize(
    ("value", "named"),
    [
        (torch.full((16,), float("nan")), "bn1.weight is not finite"),
        (torch.ones(16, dtype=torch.int8), "bn1.weight is torch.int8"),
        (torch.ones(8), r"bn1.weight is \(8,\)"),
        (1.0, "bn1.weight is a float"),
    ],
)
def test_unusable_tensor_is_named(tmp_path: Path, value: object, named: str) -> None:
    torch.save({**net().state_dict(), "bn1.weight": value}, tmp_path / "w.pth")
    assert_refused(tmp_path / "w.pth", named)


@pytest.mark.parametrize("content", [{}, [1, 2], {"state_dict": 3}, {"epoch": 1}, torch.ones(3)])
def test_file_without_a_state_dict_is_refused(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "w.pth")
    assert_refused(tmp_path / "w.pth", "no state dict")


def test_tensor_under_two_prefixes_is_refused(tmp_path: Path) -> None:
    weights = net().state_dict()
    torch.save({**weights, "module.bn1.weight": weights["bn1.weight"]}, tmp_path / "w.pth")
    assert_refused(tmp_path / "w.pth", "twice")


class Payload:
    """Unpickled, it makes a file."""

    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return Path.touch, (self.proof,)


def test_code_in_a_file_is_not_run(tmp_path: Path) -> None:
    proof = tmp_path / "proof"
    torch.save({**net().state_dict(), "x": Payload(proof)}, tmp_path / "zip.pth")
    torch.save({"x": Payload(proof)}, tmp_path / "legacy.pth", _use_new_zipfile_serialization=False)
    (tmp_path / "bare.pth").write_bytes(pickle.dumps(Payload(proof), protocol=2))
    for name in ("zip.pth", "legacy.pth", "bare.pth"):
        assert_refused(tmp_path / name, "nothing in it was run")
    assert not proof.exists()
    pickle.loads((tmp_path / "bare.pth").read_bytes())  # the payload works
    assert proof.exists()


@pytest.mark.parametrize("file", ["zip.pth", "legacy.pth", "w.safetensors"])
@pytest.mark.parametrize("kept", [0.0, 0.001, 0.5, 0.9999])
def test_truncated_file_is_named(tmp_path: Path, file: str, kept: float) -> None:
    path = tmp_path / file
    if file == "w.safetensors":
        safetensors.torch.save_file(net().state_dict(), path)
    else:
        torch.save(net().state_dict(), path, _use_new_zipfile_serialization=file == "zip.pth")
    data = path.read_bytes()
    path.write_bytes(data[: int(kept * len(data))])
    assert_refused(path, "damaged")


@pytest.mark.parametrize("file", ["w.pth", "w.safetensors"])
def test_garbage_is_named(tmp_path: Path, file: str) -> None:
    (tmp_path / file).write_bytes(b"<!DOCTYPE html>" * 100)
    assert_refused(tmp_path / file, "damaged")


def test_flipped_bits_are_found_by_the_checksum(tmp_path: Path) -> None:
    torch.save(net().state_dict(), tmp_path / "w.pth")
    data = bytearray((tmp_path / "w.pth").read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "w.pth").write_bytes(data)
    assert_refused(tmp_path / "w.pth", "damaged")


@pytest.mark.parametrize(
    ("name", "width", "weights", "named"),
    [
        ("resnet19", 1.0, "none", "'resnet19' is not one of .*'resnet18'"),
        ("resnet152_ibn_a", 1.0, "imagenet", "'resnet152_ibn_a', only for .*'resnet50_ibn_a'"),
        ("resnet50", 0.5, "imagenet", "published for width 1, not 0.5"),
        ("resnet50", 1.0, "imagnet", "'imagnet': choices are none, imagenet, or a path"),
        ("resnet50", 1.0, "w.pkl", "choices are none, imagenet, or a path"),
        ("resnet50", 1.0, "", "choices are none, imagenet, or a path"),
        ("resnet50", 1.0, "absent.pth", "'absent.pth': no such file"),
    ],
)
def test_bad_choice_is_named_before_anything_is_read(name: str, width: float, weights: str, named: str) -> None:
    with pytest.raises(InputError, match=named):
        check_weights(name, width, weights)


def test_good_choices_pass(tmp_path: Path) -> None:
    (tmp_path / "w.pth").touch()
    check_weights("resnet152_ibn_a", 0.5, "none")
    check_weights("resnet152_ibn_a", 0.5, str(tmp_path / "w.pth"))
    for name in published():
        check_weights(name, 1.0, "imagenet")


def test_published_files_are_of_backbones_and_carry_a_hash() -> None:
    for name, url in published().items():
        stem, digits = Path(url).stem.rsplit("-", 1)
        assert stem == name and name in BACKBONES
        assert len(digits) == 8 and int(digits, 16) >= 0


def test_plain_backbones_take_torchvision_s_first_weights() -> None:
    addresses = published()
    assert addresses["resnet50"] == ResNet50_Weights.IMAGENET1K_V1.url
    assert {name for name, url in addresses.items() if "pytorch.org" in url} == {
        *("resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "resnext50_32x4d", "resnext101_32x8d")
    }
    assert set(addresses) - set(IBN_NET) == {name for name, url in addresses.items() if "pytorch.org" in url}


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Path, str]]:
    """A folder and the address at which it is served; torch's hub folder is an empty one."""
    folder = tmp_path / "served"
    folder.mkdir()
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch_home"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=folder))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield folder, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def publish(folder: Path, weights: dict[str, torch.Tensor], digits: str | None = None) -> str:
    torch.save(weights, folder / "w.pth")
    digits = digits or hashlib.sha256((folder / "w.pth").read_bytes()).hexdigest()[:8]
    return (folder / "w.pth").rename(folder / f"resnet18-{digits}.pth").name


def test_published_file_is_fetched_once_and_checked_always(
    served: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, address = served
    file = publish(folder, net(width=1.0, num_classes=10).state_dict())
    monkeypatch.setitem(IBN_NET, "resnet18", f"{address}/{file}")  # they come last
    backbone = net(seed=1, width=1.0)
    report = load_weights(backbone, "resnet18", "imagenet")
    assert_same(backbone, net(width=1.0, num_classes=10))
    assert report.origin == f"{address}/{file}" and report.sha256[:8] in file
    assert report.unused == ["fc.weight", "fc.bias"]

    (folder / file).unlink()
    assert load_weights(net(width=1.0), "resnet18", "imagenet") == report

    kept = tmp_path / "torch_home" / "hub" / "checkpoints" / file
    kept.write_bytes(kept.read_bytes() + b"\0")
    with pytest.raises(InputError, match=f"{kept}.*SHA-256.*delete it"):
        load_weights(net(width=1.0), "resnet18", "imagenet")


def test_wrong_hash_is_refused_and_not_kept(
    served: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, address = served
    file = publish(folder, {"conv1.weight": torch.ones(1)}, digits="0badc0de")
    monkeypatch.setitem(IBN_NET, "resnet18", f"{address}/{file}")  # they come last
    backbone = net(seed=1, width=1.0)
    with pytest.raises(InputError, match=f"{address}/{file}.*0badc0de.*give its path instead of 'imagenet'"):
        load_weights(backbone, "resnet18", "imagenet")
    assert_same(backbone, net(seed=1, width=1.0))
    assert not list((tmp_path / "torch_home").rglob("*resnet18*"))


@pytest.mark.parametrize("url", ["{address}/resnet18-0badc0de.pth", "http://127.0.0.1:9/resnet18-0badc0de.pth"])
def test_failed_download_names_the_address(served: tuple[Path, str], monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    url = url.format(address=served[1])
    monkeypatch.setitem(IBN_NET, "resnet18", url)  # they come last
    with pytest.raises(InputError, match=f"could not get {url}.*give its path instead of 'imagenet'"):
        load_weights(net(width=1.0), "resnet18", "imagenet")


def test_a_checkpoint_of_this_project_is_a_weights_file(tmp_path: Path) -> None:
    trained = Embedder(BACKBONES["resnet18"](num_classes=None, width=0.25), num_classes=3)
    tensors = {f"model.{name}": value for name, value in trained.state_dict().items()}
    path = tmp_path / "checkpoint.safetensors"
    safetensors.torch.save_file({**tensors, "optimizer.0.step": torch.zeros(1), "random": torch.zeros(9)}, path)
    other = BACKBONES["resnet18"](num_classes=None, width=0.25)
    report = load_weights(other, "resnet18", str(path))
    assert torch.equal(other.conv1.weight, trained.backbone.conv1.weight)
    assert sorted(name.split(".")[0] for name in report.unused)[0] == "classifier" and not report.missing
