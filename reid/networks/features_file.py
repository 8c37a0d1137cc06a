"""Features in a file, with the image and box that each is of and the network that made them: .npz or Parquet.

``reid embed`` writes them; ``reid score``, ``reid search add --features`` and :mod:`reid.networks.lookup` read them.
"""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from reid.errors import InputError
from reid.files import replacing, write_atomically
from reid.networks.base import Origin
from reid.retrieval.features import Features, load_features, read_arrays

SUFFIXES = (".npz", ".parquet")
WHOLE = (-1, -1, -1, -1)  # in place of a box: all of the image
BOX = ("left", "top", "right", "bottom")
JPEG = b"\xff\xd8\xff"  # how one begins
KEY = b"reid"  # of the Parquet file's metadata
ABOUT = ("boxes", "identities", "cameras", "times", "about")  # arrays beside those that every features file has


@dataclass(frozen=True, eq=False)
class FeaturesFile:
    """One row an image, or a box in one.

    Attributes:
        features: the features (N, D), identities and cameras as numbers, and the images' paths; -1 is an identity that
            is not known.
        boxes: (N, 4) int64: left, top, right, bottom in pixels of the upright image, or WHOLE.
        identities, cameras: N names, as a gallery keeps them ("plaza/17"); empty where not known.
        times: (N,) float64, seconds since 1970, UTC; NaN where not known.
        origin: of the network; None where the file does not tell.
        key: what the rows were made from: two files of one key are the same.
        left_out: a line for each image without a row: it cannot be read, or has no feature.
        thumbnails: N JPEGs, in Parquet alone: of images that lie in shards, where no path leads to them.
    """

    features: Features
    boxes: np.ndarray
    identities: tuple[str, ...]
    cameras: tuple[str, ...]
    times: np.ndarray
    origin: Origin | None
    key: str = ""
    left_out: tuple[str, ...] = ()
    thumbnails: tuple[bytes, ...] | None = None

    def __len__(self) -> int:
        return len(self.features)

    def save(self, path: Path) -> None:
        """Write .npz or .parquet, by the suffix; never half of one.

        Raises:
            InputError: another suffix, or a file that cannot be written.
        """
        check_suffix(path)
        if path.suffix.lower() == ".parquet":
            self._save_parquet(path)
            return
        content = io.BytesIO()
        np.savez(
            content,
            features=self.features.features,
            pids=self.features.pids,
            camids=self.features.camids,
            paths=np.array(self.features.paths, np.str_),
            origin=np.array(self.features.origin),
            boxes=self.boxes,
            identities=np.array(self.identities, np.str_),
            cameras=np.array(self.cameras, np.str_),
            times=self.times,
            about=np.array(self._about()),
        )
        write_atomically(path, content.getvalue())

    def _about(self) -> str:
        origin = None if self.origin is None else asdict(self.origin)
        return json.dumps({"network": origin, "key": self.key, "left_out": self.left_out})

    def _save_parquet(self, path: Path) -> None:
        rows, width = self.features.features.shape
        whole = (self.boxes == WHOLE).all(axis=1)
        flat = pa.array(self.features.features.reshape(-1))
        digest = "" if self.origin is None else self.origin.fingerprint
        columns: dict[str, Any] = {
            "path": pa.array(self.features.paths, pa.string()),
            **{side: pa.array(self.boxes[:, place], pa.int64(), mask=whole) for place, side in enumerate(BOX)},
            "feature": pa.FixedSizeListArray.from_arrays(flat, width),
            "pid": pa.array(self.features.pids),
            "camid": pa.array(self.features.camids),
            "identity": pa.array([name or None for name in self.identities], pa.string()),
            "camera": pa.array([name or None for name in self.cameras], pa.string()),
            "time": pa.array(self.times, pa.float64(), mask=np.isnan(self.times)),
            "network": pa.DictionaryArray.from_arrays(np.zeros(rows, np.int32), [digest]),
        }
        if self.thumbnails is not None:
            columns["thumbnail"] = pa.array(self.thumbnails, pa.binary())
        table = pa.table(columns).replace_schema_metadata({KEY: self._about().encode()})
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(path) as file:
                pq.write_table(table, file, write_page_checksum=True)
        except (OSError, pa.ArrowException) as error:
            raise InputError(f"{path}: cannot be written: {error}") from None


def check_suffix(path: Path) -> None:
    """Raise InputError where a features file cannot have this name."""
    if path.suffix.lower() not in SUFFIXES:
        raise InputError(f"{path}: expected a name that ends in {' or '.join(SUFFIXES)}")


def read_features_file(path: Path) -> FeaturesFile:
    """A features file of any origin; from one that ``reid embed`` did not write only what every .npz has is known.

    Raises:
        InputError: naming the file and what is wrong in it.
    """
    check_suffix(path)
    return _read_parquet(path) if path.suffix.lower() == ".parquet" else _read_npz(path)


def read_key(path: Path) -> tuple[str, tuple[str, ...]] | None:
    """Key and lines of what was left out of a file that ``reid embed`` wrote; None for any other, or none."""
    try:
        if path.suffix.lower() == ".parquet":
            about = _about((pq.read_schema(path).metadata or {}).get(KEY, b"").decode(), path)
        else:
            with np.load(path, allow_pickle=False) as archive:
                about = _about(str(archive["about"]), path)
    except Exception:  # no such file, or anything else than what is sought, which raises nearly anything
        return None
    return about.key, about.left_out


@dataclass(frozen=True)
class _About:
    origin: Origin | None
    key: str
    left_out: tuple[str, ...]


def _about(text: str, path: Path) -> _About:
    try:
        content = json.loads(text)
        network, key, left_out = content["network"], content["key"], content["left_out"]
        origin = None if network is None else Origin(**network)
        texts = [key, *left_out] + ([] if origin is None else [origin.name, origin.network, origin.preprocessing])
        if not all(isinstance(one, str) for one in texts) or (origin and not isinstance(origin.width, int)):
            raise ValueError("of other types")
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: about: not what reid embed writes: {error}") from None
    return _About(origin, key, tuple(left_out))


def _read_npz(path: Path) -> FeaturesFile:
    features = load_features(path)
    count = len(features)
    if len(features.paths) != count:
        raise InputError(f"{path}: has no array paths: which images are these features of?")
    arrays = read_arrays(path)
    if "about" not in arrays:
        boxes, times = np.tile(np.array(WHOLE, np.int64), (count, 1)), np.full(count, np.nan)
        return FeaturesFile(features, boxes, ("",) * count, ("",) * count, times, None)
    missing = [name for name in ABOUT if name not in arrays]
    if missing:
        raise InputError(f"{path}: has no array {', '.join(missing)} beside about")
    identities, cameras = (tuple(str(name) for name in np.atleast_1d(arrays[n])) for n in ("identities", "cameras"))
    return _checked(path, features, arrays["boxes"], identities, cameras, arrays["times"], str(arrays["about"]))


def _read_parquet(path: Path) -> FeaturesFile:
    wanted = ("path", *BOX, "feature", "pid", "camid", "identity", "camera", "time")
    try:
        table = pq.read_table(path, page_checksum_verification=True)
        missing = [name for name in wanted if name not in table.column_names]
        if missing:
            raise InputError(f"{path}: has no column {', '.join(missing)}: reid embed did not write it")
        column = {name: table.column(name).combine_chunks() for name in wanted}
        if not pa.types.is_fixed_size_list(kind := column["feature"].type):
            raise InputError(
                f"{path}: column feature is {kind}, not a list of one width: a program that wrote it anew lost it"
            )
        width = kind.list_size
        rows = column["feature"].flatten().to_numpy(zero_copy_only=False).reshape(-1, width)
        boxes = np.stack([column[side].fill_null(-1).to_numpy(zero_copy_only=False) for side in BOX], axis=1)
        times = column["time"].fill_null(np.nan).to_numpy(zero_copy_only=False)
        pids, camids = (column[name].to_numpy(zero_copy_only=False) for name in ("pid", "camid"))
        paths, identities, cameras = (
            tuple("" if name is None else name for name in column[n].to_pylist())
            for n in ("path", "identity", "camera")
        )
        about = ((table.schema.metadata or {}).get(KEY) or b"").decode()
        thumbnails = tuple(table.column("thumbnail").to_pylist()) if "thumbnail" in table.column_names else None
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except InputError:
        raise
    except (OSError, pa.ArrowException, AttributeError, ValueError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read as Parquet of reid embed: {error}") from None
    features = Features(np.asarray(rows), np.asarray(pids), np.asarray(camids), paths, str(path))
    return _checked(path, features, np.asarray(boxes), identities, cameras, np.asarray(times), about, thumbnails)


def _checked(
    path: Path,
    features: Features,
    boxes: np.ndarray,
    identities: Sequence[str],
    cameras: Sequence[str],
    times: np.ndarray,
    text: str,
    thumbnails: tuple[bytes, ...] | None = None,
) -> FeaturesFile:
    about, count = _about(text, path), len(features)
    if boxes.shape != (count, 4) or boxes.dtype != np.int64:
        raise InputError(f"{path}: boxes: expected int64 ({count}, 4), got {boxes.dtype} {boxes.shape}")
    left, top, right, bottom = boxes.T
    good = (boxes == WHOLE).all(axis=1) | ((left >= 0) & (left < right) & (top >= 0) & (top < bottom))
    if not good.all():
        row = int(np.flatnonzero(~good)[0])
        raise InputError(f"{path}: row {row}: box {boxes[row].tolist()}: expected 0 <= left < right, 0 <= top < bottom")
    if times.shape != (count,) or times.dtype != np.float64 or np.isinf(times).any():
        raise InputError(f"{path}: times: expected finite float64 ({count},), got {times.dtype} {times.shape}")
    if len(identities) != count or len(cameras) != count:
        raise InputError(f"{path}: {len(identities)} identities and {len(cameras)} cameras for {count} features")
    if about.origin is not None and about.origin.width != features.features.shape[1]:
        raise InputError(
            f"{path}: features of width {features.features.shape[1]}, but its network's is {about.origin.width}"
        )
    if thumbnails is not None and not all(isinstance(one, bytes) and one.startswith(JPEG) for one in thumbnails):
        raise InputError(f"{path}: thumbnail: expected a JPEG in every row")
    return FeaturesFile(
        features, boxes, tuple(identities), tuple(cameras), times, about.origin, about.key, about.left_out, thumbnails
    )
