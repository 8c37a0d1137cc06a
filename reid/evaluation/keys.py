"""Digests of what decides a figure: whatever is stored under one counts while nothing of it changed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from reid.config import Config
from reid.data.samples import Samples
from reid.engine import build
from reid.engine.code import features_code
from reid.engine.extract import network_file
from reid.errors import InputError
from reid.evaluation.provenance import precision_name


def network_digest(config: Config, folder: Path) -> str:
    """Sixteen hexadecimal digits of the sha256 of the file whose network is tested.

    Raises:
        InputError: there is none.
    """
    try:
        with network_file(config, folder).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()[:16]
    except OSError as error:
        raise InputError(f"{folder}: holds no checkpoint; train it first: {error}") from None


def settings_key(config: Config, samples: Samples, own: Sequence[object]) -> str:
    """Digest of what is computed from images besides the network: files (by size and time), identities, arithmetic,
    the code, and ``own`` settings. Of the device the kind alone: with its name, what one of two unlike GPUs has done
    would not count on the other."""
    files = [(name, *stat) for name, stat in zip(samples.names, samples.stats, strict=True)]
    people = [samples.pids.tolist(), samples.camids.tolist()]
    size = [config.data.height, config.data.width, config.transforms.standardise]
    at_work = [precision_name(config), build.device(config).type, features_code()]
    return short_digest([files, people, *at_work, *size, *own])


def origin_of(path: Path, checkpoint: str, settings: str) -> str:
    """What a file of features or moments came from; it is valid while this is the same."""
    return f"{path} (checkpoint {checkpoint}, settings {settings})"


def short_digest(values: Sequence[object]) -> str:
    """Sixteen hexadecimal digits of plain values."""
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()[:16]
