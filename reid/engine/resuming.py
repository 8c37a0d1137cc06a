"""Whether what lies in a run's folder is this run, and whether it can be gone on with."""

from __future__ import annotations

import logging
from dataclasses import replace
from functools import cache
from pathlib import Path

from reid.config import Config, load_resolved
from reid.engine.build import Source
from reid.engine.checkpoint import CONFIG_FILE, Progress
from reid.errors import InputError
from reid.files import write_atomically
from reid.layers import flatten

log = logging.getLogger(__name__)

CODES = ", then "  # between the digests of a run that went on by other code


def check_same_config(config: Config, folder: Path) -> None:
    old, new = flatten(load_resolved(folder / CONFIG_FILE).training()), flatten(config.training())
    differing = [key for key in sorted(old.keys() | new.keys()) if old.get(key) != new.get(key)]
    if differing:
        shown = "; ".join(f"{key} was {old.get(key)!r}, is {new.get(key)!r}" for key in differing[:5])
        raise InputError(f"{folder}: holds a run of another config ({shown}). Choose another run=NAME, or delete it")


def refuse_adapted(folder: Path, stored: Progress) -> None:
    """Refuse to take an adapted network for the run that it was made from, to be trained or gone on with."""
    if stored.adapted:
        raise InputError(
            f"{folder}: holds a network adapted to {stored.adapted['data']} (adapt.py), which is not trained any "
            f"further; it was made from the run {stored.adapted['run']}. Choose another run=NAME, or delete it"
        )


def check_same_data(folder: Path, stored: Progress, source: Source) -> None:
    if stored.data != source.fingerprint:
        raise InputError(
            f"{folder}: was trained on other files of {stored.source} (fingerprint {stored.data[:12]}, the files in "
            f"{source.samples.root} have {source.fingerprint[:12]}). Choose another run=NAME, or delete it"
        )


@cache
def say_other_code(folder: Path, made: str, now: str) -> None:
    """Say once that a finished run is not what training anew would give."""
    if made != now:
        log.warning(
            f"{folder}: finished, but made by other code ({made}; this is {now}): training it anew may give another "
            "network. Delete the folder, or choose another run=NAME, to do so"
        )


def with_code(folder: Path, stored: Progress, now: str) -> Progress:
    """The stored state, with the code that goes on with it on record."""
    if stored.code.split(CODES)[-1] == now:
        return stored
    log.warning(
        f"{folder}: was begun by other code ({stored.code}; this is {now}): it goes on, but may not end as it "
        "would have by one of the two; its checkpoint and results say so"
    )
    return replace(stored, code=f"{stored.code}{CODES}{now}")


def check_resumable(checkpoint: Path, stored: Progress, now: Progress) -> None:
    """Refuse to go on where the result would not be that of a run never interrupted."""
    reasons = {
        "device": "arithmetic differs between devices",
        "precision": "arithmetic differs between precisions",
        "packages": "other versions compute other bits",
        "total_steps": "the schedule differs",
        "num_classes": "the source's identities changed",
    }
    if now.device == "cpu":
        reasons["cpu"] = "kernels differ between instruction sets"
    for key, why in reasons.items():
        was, is_now = getattr(stored, key), getattr(now, key)
        if was != is_now:
            raise InputError(f"{checkpoint}: cannot be resumed: {key} was {was!r}, is {is_now!r} ({why})")


def cut_log(path: Path, steps: int) -> None:
    """Drop lines after the checkpoint: a killed run may have logged steps that are now done again."""
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.exists() else []
    write_atomically(path, "".join(lines[:steps]))
