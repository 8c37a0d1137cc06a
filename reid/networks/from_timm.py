"""A network of the timm library (extra ``timm``) as a :class:`reid.networks.base.Network`."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import torch

from reid.data.transforms import PerChannel, Resize, Transform
from reid.engine.extract import Extractor, Testing
from reid.errors import InputError
from reid.files import sha256_of
from reid.models import make_backbone
from reid.models.from_timm import PREFIX, TimmBackbone, feature_width, published_input
from reid.models.weights import check_weights, load_weights, state_digest
from reid.networks.base import Origin
from reid.networks.pytorch import TorchNetwork

FORM = "timm:NAME, timm:NAME/HEIGHTxWIDTH, either with @WEIGHTS: imagenet (else assumed), none or a file"
NAME = re.compile(r"timm:(?P<name>[^/@]+)(?:/(?P<height>\d{1,4})x(?P<width>\d{1,4}))?(?:@(?P<weights>.+))?", re.DOTALL)
SIZE = (256, 128)  # height and width, pixels: what people are cropped to
RESIZES = {"bilinear": cv2.INTER_LINEAR, "bicubic": cv2.INTER_CUBIC, "nearest": cv2.INTER_NEAREST}


@dataclass(frozen=True)
class TimmName:
    """What ``timm:NAME/HEIGHTxWIDTH@WEIGHTS`` says.

    Attributes:
        size: height and width to which images are resized, pixels; 256 x 128 where the name gives none.
        weights: as ``model.weights`` of a configuration: imagenet (timm's download), none (random), or a file's path.
    """

    name: str
    size: tuple[int, int]
    weights: str

    @property
    def title(self) -> str:
        """For people and for names of folders."""
        weights = Path(self.weights).stem if self._is_file else self.weights
        size = "" if self.size == SIZE else f"-{self.size[0]}x{self.size[1]}"
        return f"timm-{self.name}{size}-{weights}"

    @property
    def _is_file(self) -> bool:
        return self.weights not in ("imagenet", "none")

    @property
    def file(self) -> Path | None:
        return Path(self.weights).expanduser() if self._is_file else None


def parse_name(text: str) -> TimmName:
    """
    Raises:
        InputError: a text of another form.
    """
    match = NAME.fullmatch(text)
    if match is None or "0" in (match["height"], match["width"]):
        raise InputError(f"{text}: expected {FORM}")
    size = (int(match["height"]), int(match["width"])) if match["height"] else SIZE
    return TimmName(match["name"], size, match["weights"] or "imagenet")


def open_timm(text: str, testing: Testing) -> TorchNetwork:
    """The network that ``timm:NAME/HEIGHTxWIDTH@WEIGHTS`` names; its feature is the vector before the classifier.

    An image is resized to 256 x 128 or the size that is given, as re-identification has it and not to the square that
    the weights were trained on, by the interpolation that timm names for them (OpenCV's, which does not smooth before
    it shrinks), and normalised by their mean and standard deviation. Random weights are those of the configuration's
    ``seed``.

    Raises:
        InputError: timm is not installed, a name, a size or weights that do not exist, or a failed download.
    """
    wanted = parse_name(text)
    check_weights(PREFIX + wanted.name, 1, wanted.weights)
    given = published_input(wanted.name)
    if given.interpolation not in RESIZES:
        raise InputError(f"{text}: timm resizes for it by {given.interpolation}; here are {', '.join(RESIZES)}")
    on = testing.placement

    def build() -> Extractor:
        on.take_up()
        network = _load(wanted, testing.seed).to(on.device).to(memory_format=torch.channels_last)
        fit = Resize(*wanted.size, interpolation=RESIZES[given.interpolation])
        transform = Transform(fit, PerChannel(tuple(given.mean), tuple(given.std)))
        return Extractor(network, transform, on, testing.batch_size, testing.workers, testing.flip)

    preprocessing: dict[str, Any] = {
        "colour": "rgb",
        "height": wanted.size[0],
        "width": wanted.size[1],
        "resize": given.interpolation,
        "mean": list(given.mean),
        "std": list(given.std),
        "flip": testing.flip,
        "precision": on.precision,
    }
    width = feature_width(wanted.name, wanted.size)
    if wanted.file is not None:
        digest = sha256_of(wanted.file)
        return TorchNetwork(_origin(wanted, width, digest, preprocessing), build)
    extractor = build()  # which weights these are, they alone can say
    module = extractor.network
    assert isinstance(module, TimmBackbone)  # as _load made it
    return TorchNetwork(_origin(wanted, width, state_digest(module.timm), preprocessing), lambda: extractor)


def _origin(wanted: TimmName, width: int, digest: str, preprocessing: dict[str, Any]) -> Origin:
    steps = {"network": f"{PREFIX}{wanted.name}", **preprocessing}
    return Origin(wanted.title, width, digest, json.dumps(steps, sort_keys=True))


def _load(wanted: TimmName, seed: int) -> TimmBackbone:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        backbone = make_backbone(PREFIX + wanted.name, size=wanted.size)
    load_weights(backbone, PREFIX + wanted.name, wanted.weights)
    assert isinstance(backbone, TimmBackbone)
    return backbone.eval()
