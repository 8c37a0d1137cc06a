"""A site's folder: whether it is finished and fits, the hidden folder where it grows, site.json and fingerprint."""

from __future__ import annotations

import hashlib
import json
import shutil
from importlib.metadata import version
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from reid.errors import InputError
from reid.files import remove_leftover_partials, write_atomically
from reid.sites.settings import SPLITS, SiteSettings

_RECORD = "site.json"
_PARTIAL_RECORD = "settings.json"


def _recipe(settings: SiteSettings) -> dict[str, Any]:
    """All that decides the bytes of the images."""
    return {
        "settings": settings.as_json(),
        "renderer": settings.version,
        "versions": {"numpy": np.__version__, "opencv": cv2.__version__, "numba": version("numba")},
    }


def _images(folder: Path, split: str) -> list[Path]:
    return sorted((folder / SPLITS[split]).glob("*.jpg"))


def _census(folder: Path, settings: SiteSettings) -> dict[str, dict[str, int]]:
    """Number of images and their bytes by split: cheap to take, and it shows files lost or rewritten."""
    return {
        split: {"images": len(paths), "bytes": sum(path.stat().st_size for path in paths)}
        for split in settings.splits
        for paths in [_images(folder, split)]
    }


def fingerprint_of(folder: Path, settings: SiteSettings) -> str:
    """SHA-256 (hex) over each image's relative name, NUL, length (8 bytes, little endian) and bytes, sorted by name."""
    digest = hashlib.sha256()
    paths = {path.relative_to(folder).as_posix(): path for split in settings.splits for path in _images(folder, split)}
    for name in sorted(paths):
        data = paths[name].read_bytes()
        digest.update(name.encode() + b"\0" + len(data).to_bytes(8, "little") + data)
    return digest.hexdigest()


def check_finished(folder: Path, settings: SiteSettings) -> str | None:
    """The fingerprint of a finished render of these settings; None if there is no folder, or an empty one.

    Raises:
        InputError: the folder holds something else.
    """
    way_out = "delete the folder or choose another data.sites_root"
    if not folder.exists():
        return None
    if not folder.is_dir():
        raise InputError(f"{folder}: is a file, not the folder of a {settings.kind} site; {way_out}")
    if not any(folder.iterdir()):
        return None
    try:
        record = json.loads((folder / _RECORD).read_text("utf-8"))
        there, renderer = dict(record["settings"]), record["renderer"]
        census, fingerprint = dict(record["census"]), str(record["fingerprint"])
    except FileNotFoundError as error:
        raise InputError(f"{folder}: holds no {_RECORD}, so it is no {settings.kind} site; {way_out}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{folder / _RECORD}: cannot be read ({error!r}); {way_out}") from error
    if renderer != settings.version:
        raise InputError(
            f"{folder}: was made by renderer version {renderer}, this is version {settings.version}; {way_out}"
        )
    wanted = settings.as_json()
    for name in wanted:
        if there.get(name) != wanted[name]:
            raise InputError(f"{folder}: was made with {name} {there.get(name)!r}, not {wanted[name]!r}; {way_out}")
    now = _census(folder, settings)
    for split in settings.splits:
        if now[split] != census.get(split):
            raise InputError(
                f"{folder / SPLITS[split]}: holds {now[split]}, {_RECORD} says {census.get(split)}: "
                f"images were lost or changed; {way_out}"
            )
    return fingerprint


def open_partial(folder: Path, settings: SiteSettings) -> Path:
    """The hidden folder where the site grows, with what an earlier run of the same recipe left."""
    partial = folder.parent / f".{folder.name}.partial"
    record = partial / _PARTIAL_RECORD
    if partial.exists():
        try:
            same = json.loads(record.read_text("utf-8")) == _recipe(settings)
        except (OSError, ValueError):
            same = False
        if not same:
            shutil.rmtree(partial)
    for split in settings.splits:
        (partial / SPLITS[split]).mkdir(parents=True, exist_ok=True)
        remove_leftover_partials(partial / SPLITS[split])
    write_atomically(record, json.dumps(_recipe(settings), indent=2))
    return partial


def finish(partial: Path, folder: Path, settings: SiteSettings) -> str:
    """Write site.json, move the complete folder into place and return the fingerprint."""
    fingerprint = fingerprint_of(partial, settings)
    record = {**_recipe(settings), "census": _census(partial, settings), "fingerprint": fingerprint}
    write_atomically(partial / _RECORD, json.dumps(record, indent=2) + "\n")
    partial.rename(folder)
    (folder / _PARTIAL_RECORD).unlink()  # not before: without it a run would begin anew
    return fingerprint
