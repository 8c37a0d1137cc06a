from __future__ import annotations

import shutil
import signal
from contextlib import chdir
from pathlib import Path

import pytest
import torch
import torch.utils.data
from hypothesis import settings
from trees import PLACE, market_tree

from reid.config import Config, load_config
from reid.engine.train import train
from reid.networks import load, shipped
from reid.networks.packed import pack

ROOT = Path(__file__).parents[1]
settings.register_profile("untimed", deadline=None)  # nothing is timed in a test
settings.load_profile("untimed")


LONG = (  # files that take more than 15 seconds, in about that order
    "evaluation/test_benchmark.py", "gallery/vectors/test_milvus.py", "test_cli.py", "gallery/test_crash.py",
    "engine/test_train.py", "test_processes.py", "gallery/web/test_browser.py", "networks/test_peers.py",
    "commands/test_on_ray.py", "gallery/test_store.py", "gallery/web/test_bodies.py", "engine/test_code.py",
    "data/test_dataset.py", "gallery/web/test_app.py", "networks/test_export.py", "engine/test_distributed.py",
)  # fmt: skip


def pytest_collection_modifyitems(items):
    """The long files begin first, so that in the end no process is left alone with one."""
    place = {ROOT / "tests" / name: number for number, name in enumerate(LONG)}
    items.sort(key=lambda item: place.get(item.path, len(LONG)))


@pytest.fixture(autouse=True, scope="session")
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture(autouse=True, scope="session")
def _workers_that_end():
    """A loader that ends with an exception goes with the garbage, when its workers are not told any more that it does:
    for each of them it waits, of itself 5 seconds, and then ends it."""
    torch.utils.data._utils.MP_STATUS_CHECK_INTERVAL = 0.5


@pytest.fixture(autouse=True, scope="session")
def _signals_of_a_terminal():
    """Whatever the tests were started under: nohup, a background shell and some CI runners leave signals ignored, and
    every child would inherit that."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture(scope="session")
def market(tmp_path_factory) -> Path:
    """Folder that holds a small tree in Market-1501's layout; read only."""
    root = tmp_path_factory.mktemp("data")
    market_tree(root / PLACE, identities=6, cameras=2, images=4, size=(64, 32))
    return root


def tiny_overrides(market: Path) -> list[str]:
    """Overrides (``key=value``) for a run of seconds on the small tree."""
    return [
        "model.backbone=resnet18_ibn_b", "model.weights=none", "model.width=0.125", f"data.root={market}",
        "data.height=32", "data.width=16", "data.workers=0", "sampler.identities=3", "sampler.images=2",
        "optim.epochs=2", "optim.warmup=1", "transforms.pad=2", "device=cpu", "precision=float32", "threads=1",
    ]  # fmt: skip


@pytest.fixture
def tiny(market, tmp_path, monkeypatch):
    """:func:`tiny_overrides`, in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    return tiny_overrides(market)


@pytest.fixture
def tiny_config(tiny) -> Config:
    return load_config("market_bn.yaml", tiny)


@pytest.fixture(scope="session")
def run_of_three_steps(market, tmp_path_factory) -> Path:
    """Folder of a finished run; read only."""
    with chdir(tmp_path_factory.mktemp("trained")):
        config = load_config("market_bn.yaml", [*tiny_overrides(market), "optim.steps=3"])
        return train(config, progress=False).absolute()


@pytest.fixture
def trained(tiny, run_of_three_steps) -> tuple[Config, Path]:
    """A finished run of three steps: its config and its folder."""
    config = load_config("market_bn.yaml", [*tiny, "optim.steps=3"])
    shutil.copytree(run_of_three_steps, config.run_folder)
    return config, config.run_folder


@pytest.fixture
def people(trained, tmp_path, monkeypatch) -> Path:
    """A network of three steps in the place of the one that travels in the package."""
    file = tmp_path / "package" / "people.safetensors"
    pack(load(trained[1], ["device=cpu"]), file, half=True)
    monkeypatch.setattr(shipped, "file_of", lambda name: file.with_stem(name))
    return file
