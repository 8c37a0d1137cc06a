"""Networks of any origin behind one door: this project's runs, and what others made."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reid.errors import InputError
from reid.files import bundled_names, meant
from reid.networks.base import Network, Origin
from reid.networks.shipped import NAMES, PEOPLE, packed_file, shipped_file

if TYPE_CHECKING:
    from reid.engine.extract import Testing

__all__ = ["PEERS", "PEOPLE", "Network", "Origin", "default_testing", "load", "refuse_missing"]

# What --model takes, in words: runs; what is a torch module; what embeds crops; everything.
RUN = f"a run's folder, a run as one file (export.py --format safetensors), {', '.join(NAMES)} (in this package)"
MODULE = f"{RUN}, a checkpoint of torchreid or fast-reid (.pth, .tar, .safetensors, ...), timm:NAME"
EMBEDDER = (
    f"{MODULE}, an .onnx or .xml file (exported by this project, or with a YAML beside it that describes it), such a "
    "YAML or a bundled one's name"
)
ANY = f"{EMBEDDER}, or features of images (.npz, .parquet)"

TESTED = (
    "device",
    "precision",
    "threads",
    "data.root",
    "data.sites_root",
    "data.workers",
    "evaluation",
    "output",
    "seed",
)


def __getattr__(name: str) -> Any:
    if name == "PEERS":  # networks of torch, which is not loaded for less
        from reid.networks.peers import PEERS

        return PEERS
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def load(name: str | Path, overrides: Sequence[str] = ()) -> Network:
    """The network that a name stands for.

    ========================== ============================================================
    a run's folder             what `reid train` left there
    FILE.safetensors           a run as one file, see :mod:`reid.networks.packed`
    people                     the network in this package, see :mod:`reid.networks.shipped`
    FILE.onnx, FILE.xml        with FILE.yaml beside it that says how to feed it, unless `reid export` made it
    FILE.yaml, or a bare name  such a description, or a bundled one (configs/foreign)
    timm:NAME                  of the library timm, see :func:`reid.networks.from_timm.open_timm`
    FILE.pth, .pt, .tar, ...   a checkpoint of torchreid or fast-reid, see :mod:`reid.networks.peers`
    FILE.npz, FILE.parquet     features that were made before, see :func:`reid.networks.lookup.open_features`
    ========================== ============================================================

    Args:
        overrides: ``key=value`` of configs/base.yaml: where it runs and how it is tested (device, precision, threads,
            data, evaluation); of a run over what its own config says.

    Raises:
        InputError: naming what is missing or wrong.
    """
    if isinstance(overrides, str):
        raise InputError(f"overrides: {overrides!r} is a text; expected a list of them: [{overrides!r}]")
    refuse_missing(str(name))  # before anything else looks at the path, which may be none
    if (file := packed_file(str(name))) is not None:
        from reid.networks.packed import open_packed

        return open_packed(file, overrides)
    path = Path(name)
    if path.is_dir():
        from reid.networks.trained import open_run

        return open_run(path, overrides)
    return open_foreign(str(name), default_testing(overrides))


def refuse_missing(name: str, takes: str = ANY) -> None:
    """Refuse a network's name where nothing has it; a look at the file system alone, without torch.

    Args:
        takes: what may be named, in words.

    Raises:
        InputError: there is no such folder or file, and no bundled network or description of that name.
    """
    if shipped_file(name):
        return
    bundled = bundled_names("configs/foreign")
    if name.startswith("timm:") or name.removesuffix(".yaml") in bundled:
        return
    try:
        if any(text and Path(text).expanduser().exists() for text in (name, name.rpartition(":")[2])):  # KIND:FILE
            return
    except (OSError, RuntimeError, ValueError) as error:  # too long a name, an unknown user's home
        raise InputError(f"{name!r} is no path: {error}") from None
    raise InputError(f"{name}: no such folder or file;{meant(name, [*bundled, *NAMES])} --model takes {takes}")


def open_foreign(name: str, testing: Testing) -> Network:
    """A network that this project did not train here, by name (see :func:`load`).

    Raises:
        InputError: naming what is missing or wrong.
    """
    refuse_missing(name)
    if (file := packed_file(name)) is not None:
        from reid.networks.packed import open_packed

        return open_packed(file, testing=testing)
    if name.startswith("timm:"):
        from reid.networks.from_timm import open_timm

        return open_timm(name, testing)
    if name.lower().endswith((".npz", ".parquet")):
        from reid.networks.lookup import open_features

        return open_features(Path(name), testing)
    from reid.models.state_dicts import has_tensor_suffix

    if has_tensor_suffix(Path(name)):
        from reid.networks.peers import open_checkpoint

        return open_checkpoint(name, testing)
    from reid.networks.foreign import open_graph

    return open_graph(name, testing)


def default_testing(overrides: Sequence[str] = ()) -> Testing:
    """How a network without a config of its own is tested: configs/base.yaml and ``overrides`` of it.

    Raises:
        InputError: a key that would concern training, or a bad value.
    """
    from reid.config import load_config
    from reid.engine import build

    for override in overrides:
        key = override.partition("=")[0].strip()
        if not any(key == allowed or key.startswith(f"{allowed}.") for allowed in TESTED):
            raise InputError(
                f"command line: {key}: does not concern how a network is tested; the keys here are "
                f"{', '.join('evaluation.*' if allowed == 'evaluation' else allowed for allowed in TESTED)}"
            )
    return build.testing(load_config("base.yaml", overrides))
