"""What a figure came from: code and packages, and digests of what decides it: whatever is stored under one counts while
nothing of it changed."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import platform
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from weakref import WeakKeyDictionary

import reid
from reid.data.samples import Samples
from reid.engine.code import features_code
from reid.engine.extract import Testing
from reid.networks.base import Origin

PACKAGES = ("torch", "faiss-cpu", "albumentations", "opencv-python-headless", "numpy", "numba", "pillow")


def code_version() -> str:
    """Package version, and the commit where the package lies in a git checkout."""
    folder = Path(reid.__file__).resolve().parent
    command = ["git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    tracked = ["git", "-C", str(folder), "ls-files", "--error-unmatch", "__init__.py"]  # not some other repository
    try:
        subprocess.run(tracked, capture_output=True, check=True)
        commit = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return reid.__version__
    return f"{reid.__version__} {commit}"


def package_versions() -> dict[str, str]:
    """Versions of Python and of the packages that figures depend on."""
    versions = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:  # the same module by another package, such as faiss-gpu
            versions[name] = "not installed under this name"
    return versions


AFTER_STAGES = ("flip", "neck_feature")  # of what happens to an image: what does not touch the stages' maps


def features_key(origin: Origin, samples: Samples, testing: Testing, *settings: object) -> str:
    """Digest of what decides the features of ``samples`` besides the network's file: images, preprocessing, arithmetic,
    the code, and further ``settings``. Of the device the kind alone: with its name, what one of two unlike GPUs has
    done would not count on the other."""
    kind = testing.placement.device.type
    return short_digest([files_key(samples), origin.preprocessing, kind, features_code(), *settings])


def moments_key(origin: Origin, samples: Samples, testing: Testing, code: str) -> str:
    """As :func:`features_key`, of the stages' moments, which come before the neck and of no mirror image."""
    steps = {key: value for key, value in json.loads(origin.preprocessing).items() if key not in AFTER_STAGES}
    return features_key(replace(origin, preprocessing=json.dumps(steps)), samples, testing, "moments", code)


def files_key(samples: Samples) -> str:
    """Digest of images by name, size and time of change, and of who they show, seen by which camera; computed once."""
    if samples not in _files_keys:
        files = [(name, *stat) for name, stat in zip(samples.names, samples.stats, strict=True)]
        _files_keys[samples] = short_digest([files, samples.pids.tolist(), samples.camids.tolist()])
    return _files_keys[samples]


_files_keys: WeakKeyDictionary[Samples, str] = WeakKeyDictionary()


def origin_of(path: Path, digest: str, key: str) -> str:
    """What a file of features or moments came from; it is valid while this is the same."""
    return f"{path} (checkpoint {digest}, settings {key})"


def short_digest(values: Sequence[object]) -> str:
    """Sixteen hexadecimal digits of plain values."""
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()[:16]
