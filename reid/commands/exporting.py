"""``reid export``."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from reid.commands.command import Command, add_overrides, split_overrides
from reid.commands.models import add_model, check_there
from reid.errors import InputError
from reid.networks import RUN
from reid.texts import align

if TYPE_CHECKING:
    import numpy as np

    from reid.networks.export import Form, Precision
    from reid.networks.parity import Figures, Parity, Speed
    from reid.networks.trained import TrainedNetwork

SUFFIXES = {"onnx": ".onnx", "openvino": ".xml", "safetensors": ".safetensors"}
PACKED = "safetensors"
CALIBRATION, TIMED = 300, 64  # images
SIDES = (16, 1024)


def export_arguments(parser: argparse.ArgumentParser) -> None:
    add_model(parser, RUN)
    parser.add_argument(
        "--format",
        required=True,
        choices=SUFFIXES,
        help="of the file: onnx and openvino need nothing of this project; safetensors is the run as one file for "
        "every --model",
    )
    parser.add_argument(
        "--output",
        required=True,
        type=Path,
        metavar="FILE",
        help="ends in .onnx, .xml (OpenVINO) or .safetensors",
    )
    parser.add_argument(
        "--targets",
        default=[],
        nargs="+",
        metavar="NAME",
        help="data sets on which run and file are compared; onnx and openvino need one",
    )
    precision = parser.add_mutually_exclusive_group()
    precision.add_argument("--half", action="store_true", help="in 16 bits")
    precision.add_argument(
        "--int8", action="store_true", help="the backbone in 8 bits, calibrated on images of the source"
    )
    parser.add_argument(
        "--calibration",
        metavar="NAME",
        help="data set or folder of images for --int8 (default: what the run trained on)",
    )
    parser.add_argument(
        "--input",
        choices=("uint8", "float"),
        help="uint8: (N, H, W, 3), 0 to 255; float: (N, 3, H, W), 0 to 1; both RGB (default: uint8)",
    )
    parser.add_argument(
        "--square",
        type=_side,
        metavar="SIDE",
        help="crops come squashed to a square of so many pixels (default: any size)",
    )
    add_overrides(parser)


def _side(text: str) -> int:
    if not text.isdecimal() or not SIDES[0] <= int(text) <= SIDES[1]:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from {SIDES[0]} to {SIDES[1]}")
    return int(text)


def export(arguments: argparse.Namespace) -> None:
    targets, overrides = split_overrides(arguments.targets, arguments.overrides)
    check_there([arguments.model], targets, RUN)

    output: Path = arguments.output
    packed = arguments.format == PACKED
    if output.suffix != SUFFIXES[arguments.format]:
        raise InputError(f"--output: {output} does not end in {SUFFIXES[arguments.format]}, as {arguments.format} does")
    _check_options(arguments, targets)
    if output.is_dir() or (not packed and output.with_suffix(".bin").is_dir()):
        raise InputError(f"--output: {output} or the .bin beside it is a folder")
    if not packed and output.with_suffix(".yaml").exists():
        raise InputError(
            f"--output: {output.with_suffix('.yaml')} would be taken for the description of {output}, which needs "
            "none: choose another name"
        )

    from reid.engine import build
    from reid.networks import export as exporting
    from reid.networks import load
    from reid.networks.parity import compare, refuse, refuse_other_features, speeds
    from reid.networks.trained import TrainedNetwork

    precision: Precision = "int8" if arguments.int8 else "half" if arguments.half else "float32"
    form = exporting.Form(arguments.format, precision, arguments.input or "uint8", arguments.square)
    network = load(arguments.model, ["device=cpu", "precision=float32", *overrides])
    if not isinstance(network, TrainedNetwork):
        raise InputError(f"--model: {arguments.model} is no run of this project; only those are exported")
    roots = build.roots(network.config)
    sets = [data for name in targets for data in roots.datasets(name, ["query", "gallery"])]
    crops = _calibration(network, arguments.calibration) if form.precision == "int8" else []
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{output.name}.partial-", dir=output.parent) as folder:
            file = Path(folder) / output.name
            exporting.export(network, form, file, crops)
            parities = [compare(network, file, form, data) for data in sets]
            if parities:
                print(parity_table(parities, form))
            refuse(parities, form, network.config.evaluation.distance)
            if packed:
                refuse_other_features(network, file, _noise(network))
            else:
                print(speed_table(*speeds(network, file, _noise(network)), network.config.threads))
            size = sum(part.stat().st_size for part in Path(folder).iterdir())
            for part in sorted(Path(folder).iterdir()):  # an .xml after its .bin
                part.replace(output.parent / part.name)
    except OSError as error:
        raise InputError(f"{output}: cannot be written: {error}") from None
    print(f"written: {output}, {size / 1e6:.1f} MB")


def _check_options(arguments: argparse.Namespace, targets: Sequence[str]) -> None:
    """
    Raises:
        InputError: an option that does not go with the format, or is wanting.
    """
    if arguments.format != PACKED:
        if not targets:
            raise InputError(f"--targets NAME: {arguments.format} needs a data set on which run and file are compared")
        if arguments.calibration and not arguments.int8:
            raise InputError("--calibration: only --int8 is calibrated")
        return
    others = ("int8", "calibration", "input", "square")
    if given := [f"--{option}" for option in others if getattr(arguments, option)]:
        raise InputError(
            f"{', '.join(given)}: for onnx and openvino; {PACKED} is the run itself, and takes --half alone"
        )


def _calibration(network: TrainedNetwork, name: str | None) -> list[np.ndarray]:
    """Some of the images that the run was trained on, or of those named, evenly over the list."""
    from reid.data.images import read_image
    from reid.data.unlabelled import images_of
    from reid.engine import build

    roots = build.roots(network.config)
    try:
        paths = [
            path
            for source in ([name] if name else network.trained.sources)
            for path in images_of(roots, source, training=True)[1].paths
        ]
    except InputError as error:
        raise InputError(
            f"--int8 needs images to calibrate on: --calibration NAME, of the run's source: {error}"
        ) from None
    count = min(CALIBRATION, len(paths))
    return [read_image(paths[place * len(paths) // count]) for place in range(count)]


def _noise(network: TrainedNetwork) -> list[np.ndarray]:
    """Crops of the network's size: how long they take does not depend on what they show."""
    import numpy as np

    size = (TIMED, network.config.data.height, network.config.data.width, 3)
    return list(np.random.default_rng(0).integers(0, 256, size, np.uint8))


def parity_table(parities: Sequence[Parity], form: Form) -> str:
    """Figures of run and file, a line each."""
    lines = [["target", "network", "mAP", "rank-1", "mAP, difference", "largest cosine distance"]]

    def add(target: str, name: str, figures: Figures, difference: str = "", distance: str = "") -> None:
        lines.append([target, name, f"{100 * figures.mAP:.2f}", f"{100 * figures.rank1:.2f}", difference, distance])

    fed = f", squashed to {form.square}" if form.square else ""
    for parity in parities:
        if parity.plain is not None:
            add(parity.target, "run", parity.plain)
        add(parity.target, f"run{fed}", parity.original)
        name = f"{form.format}, {form.precision}{fed}"
        add(parity.target, name, parity.exported, _signed(100 * parity.difference), f"{parity.furthest:.1e}")
    return align(lines)


def _signed(value: float) -> str:
    """To three digits, a zero without a sign."""
    text = f"{value:+.3f}"
    return text if float(text) else text[1:]


def speed_table(run: Speed, file: Speed, threads: int | None) -> str:
    """Of both: one crop at a time, and many."""
    on = f"{threads} thread{'s' if threads > 1 else ''}" if threads else "all cores"
    lines = [[on, "ms for one crop", "crops a second"]]
    for name, speed in (("the run, in torch", run), ("exported", file)):
        lines.append([name, f"{speed.latency:.2f}", f"{speed.rate:.0f}"])
    return align(lines)


EXPORT = Command(
    "export.py",
    "A run as an ONNX or OpenVINO file that takes pixels, compared with the run.",
    "--model runs/sites_ibn_b_seed0 --format openvino --output runs/person.xml --targets station",
    export_arguments,
    export,
)
