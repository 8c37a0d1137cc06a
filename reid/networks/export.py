"""A run as one file that needs nothing of this project: pixels in, features of unit length out.

Resizing, normalisation, the mean with the mirror image and the division by the length stand inside the graph. The file
says itself how it wants its images (:class:`reid.networks.description.Carried`).
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from reid.data.transforms import IMAGENET_MEAN, IMAGENET_STD
from reid.errors import InputError
from reid.networks.bilinear import resize
from reid.networks.description import CARRIED, Carried
from reid.networks.graphs import openvino_core
from reid.networks.packed import pack
from reid.networks.trained import TrainedNetwork

Format = Literal["onnx", "openvino", "safetensors"]
Precision = Literal["float32", "half", "int8"]
Input = Literal["uint8", "float"]
FEATURE = "feature"
OPSET = 17
OUTSIDE_BACKBONE = r"(?!/network(_\d+)?/(?!neck)[^/]+/).*"  # names that the exporter gives: no module of the backbone's
LENGTH = 1e-12  # the least that a feature is divided by
DEVIATION, MOST = 1e-4, 20.0  # albumentations' A.Normalize: added to an image's deviation; bound of the result


@dataclass(frozen=True)
class Form:
    """What is asked for.

    Attributes:
        precision: half: weights in 16 bits, and in ONNX the backbone's arithmetic too; int8: convolutions in 8 bits.
        input: ``uint8``: (N, H, W, 3), RGB, 0 to 255; ``float``: (N, 3, H, W), RGB, 0 to 1. N is open.
        square: side of the input where every crop comes squashed to a square; None: H and W are open.
    """

    format: Format
    precision: Precision = "float32"
    input: Input = "uint8"
    square: int | None = None


class Deployed(nn.Module):
    """Pixels as a :class:`Form` has them to features (N, D) float32 of unit length.

    Args:
        network: images (N, 3, height, width) to features, in evaluation mode, its backbone in half precision where
            ``half``.
        standardise: every image to mean 0 and deviation 1 per channel, instead of ImageNet's statistics.
        flip: whether a feature is the mean of the image's and its mirror image's.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(
        self, network: nn.Module, height: int, width: int, standardise: bool, flip: bool, form: Form, half: bool
    ) -> None:
        super().__init__()
        self.network, self.size, self.flip, self.half_precision = network, (height, width), flip, half
        self.standardise, self.form = standardise, form
        for name, values in (("mean", IMAGENET_MEAN), ("deviation", IMAGENET_STD)):
            self.register_buffer(name, 255 * torch.tensor(values).reshape(1, 3, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        values = self.normalise(resize(self.pixels(images), *self.size))
        if self.half_precision:
            values = values.half()
        features = self.network(values).float()
        if self.flip:
            features = (features + self.network(values.flip(3)).float()) / 2
        return features / features.norm(dim=1, keepdim=True).clamp_min(LENGTH)

    def pixels(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) float32 that hold whole numbers from 0 to 255."""
        if self.form.input == "uint8":
            return images.permute(0, 3, 1, 2).float()
        return (images * 255).round().clamp(0, 255)

    def normalise(self, pixels: Tensor) -> Tensor:
        if not self.standardise:
            return (pixels - self.mean) / self.deviation
        centred = pixels - pixels.mean(dim=(2, 3), keepdim=True)
        deviation = (centred * centred).mean(dim=(2, 3), keepdim=True).sqrt()
        return (centred / (deviation + DEVIATION)).clamp(-MOST, MOST)


def deployed(network: TrainedNetwork, form: Form) -> Deployed:
    """The run's network as a module that takes pixels, on the CPU."""
    config, module = network.config, network.extractor.network
    if not isinstance(module, nn.Module):
        raise TypeError(f"{network.origin.name}: {type(module)} is no module")
    module = copy.deepcopy(module).cpu().to(memory_format=torch.contiguous_format).eval()
    half = form.precision == "half" and form.format == "onnx"
    if half:
        module.backbone.half()
    size = (config.data.height, config.data.width)
    return Deployed(module, *size, config.transforms.standardise, network.extractor.flip, form, half).eval()


def example(network: TrainedNetwork, form: Form) -> Tensor:
    """Two images as the exported file takes them, without content."""
    height, width = (form.square,) * 2 if form.square else (network.config.data.height, network.config.data.width)
    if form.input == "uint8":
        return torch.zeros((2, height, width, 3), dtype=torch.uint8)
    return torch.zeros((2, 3, height, width))


def carried(network: TrainedNetwork, form: Form) -> Carried:
    """What the file will say of itself."""
    height, width = (form.square,) * 2 if form.square else (network.config.data.height, network.config.data.width)
    feed: dict[str, Any] = {"height": height, "width": width, "colour": "rgb", "output": FEATURE}
    feed |= {"scale": 255, "channels": "last"} if form.input == "uint8" else {"scale": 1, "channels": "first"}
    origin = network.origin
    run = {"name": origin.name, "fingerprint": origin.fingerprint, "preprocessing": origin.preprocessing}
    return Carried(feed, run, form.precision)


def export(network: TrainedNetwork, form: Form, file: Path, calibration: Sequence[np.ndarray] = ()) -> None:
    """Write ``file`` (.onnx; .xml and, beside it, .bin; .safetensors, see :mod:`reid.networks.packed`).

    Args:
        calibration: crops (h, w, 3) uint8 RGB of any size, for int8.

    Raises:
        InputError: a package that is not installed; int8 without crops.
    """
    if form.format == "safetensors":
        pack(network, file, half=form.precision == "half")
        return
    if form.precision == "int8" and not calibration:
        raise InputError("int8: needs images to calibrate on: --calibration DATA, of the source")
    onnx, openvino = _package("onnx", file), _package("openvino", file)  # the second compares, whatever the format
    raw = file.with_suffix(".onnx")
    _trace(deployed(network, form), example(network, form), form, raw)
    note = carried(network, form).to_json()
    model = onnx.load(raw)
    if form.format == "onnx":
        if form.precision == "int8":
            model = _quantise(model, network, form, calibration, "image")
        entry = model.metadata_props.add()
        entry.key, entry.value = CARRIED, note
        onnx.checker.check_model(model)
        onnx.save(model, file)
        return
    graph = openvino_core().read_model(raw)
    if form.precision == "int8":
        graph = _quantise(graph, network, form, calibration, None)
    graph.set_rt_info(note, CARRIED)
    openvino.save_model(graph, str(file), compress_to_fp16=form.precision == "half")
    raw.unlink()


def _trace(module: Deployed, images: Tensor, form: Form, file: Path) -> None:
    """By torch's exporter that traces: the one by ``torch.export`` needs another package, onnxscript."""
    sides = (1, 2) if form.input == "uint8" else (2, 3)
    open_sides = {0: "N"} if form.square else {0: "N", sides[0]: "H", sides[1]: "W"}
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # that it is the older one; that instance norms take each image's statistics
        torch.onnx.export(
            module,
            (images,),
            str(file),
            dynamo=False,
            opset_version=OPSET,
            input_names=["image"],
            output_names=[FEATURE],
            dynamic_axes={"image": open_sides, FEATURE: {0: "N"}},
        )


def _quantise(model: Any, network: TrainedNetwork, form: Form, crops: Sequence[np.ndarray], name: str | None) -> Any:
    """The backbone in 8 bits, its ranges those that the crops show; pixels and lengths stay as exact as they are."""
    nncf = _package("nncf", Path(network.origin.name))

    def values(crop: np.ndarray) -> Any:
        batch = as_input([squash(crop, form.square) if form.square else crop], form)
        return batch if name is None else {name: batch}

    rest = nncf.IgnoredScope(patterns=[OUTSIDE_BACKBONE], validate=False)
    return nncf.quantize(model, nncf.Dataset(crops, values), subset_size=len(crops), ignored_scope=rest)


def squash(crop: np.ndarray, side: int) -> np.ndarray:
    """(side, side, 3) of a crop (h, w, 3) uint8, as trackers do it: bilinear, the proportions not kept."""
    return cv2.resize(crop, (side, side), interpolation=cv2.INTER_LINEAR)


def as_input(crops: Sequence[np.ndarray], form: Form) -> np.ndarray:
    """What an exported file takes, of crops (h, w, 3) uint8 RGB of one size."""
    batch = np.stack(crops)
    return batch if form.input == "uint8" else batch.transpose(0, 3, 1, 2).astype(np.float32) / 255


def _package(name: str, where: Path) -> Any:
    import importlib

    try:
        return importlib.import_module(name)
    except ImportError:
        raise InputError(f"{where}: exporting needs {name}: pip install 'reid-gap[export]'") from None
