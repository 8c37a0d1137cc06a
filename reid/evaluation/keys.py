"""Digests of what decides a figure: whatever is stored under one counts while nothing of it changed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from reid.data.samples import Samples
from reid.engine.code import features_code
from reid.engine.setup import Testing
from reid.networks import Origin

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
    """Digest of images by name, size and time of change, and of who they show, seen by which camera."""
    files = [(name, *stat) for name, stat in zip(samples.names, samples.stats, strict=True)]
    return short_digest([files, samples.pids.tolist(), samples.camids.tolist()])


def origin_of(path: Path, digest: str, key: str) -> str:
    """What a file of features or moments came from; it is valid while this is the same."""
    return f"{path} (checkpoint {digest}, settings {key})"


def short_digest(values: Sequence[object]) -> str:
    """Sixteen hexadecimal digits of plain values."""
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()[:16]
