"""OpenCV's bilinear resizing of uint8 pixels in operations that ONNX has.

OpenCV (``cv2.resize``, ``INTER_LINEAR``) does not round the exact value: its weights have 11 bits, and the sum over the
rows drops some bits on the way, so that one pixel in nine differs by 1 from what ``torch.nn.functional.interpolate``
gives when rounded. The numbers here are whole and below 2 ** 24: float32 holds them exactly. To sides that are powers
of two the pixels are OpenCV's to the last bit. To other sides a weight may lie between two that 11 bits can hold, where
OpenCV's rounding of the place decides: a few pixels in 10,000 differ by 1.
"""

from __future__ import annotations

import torch
from torch import Tensor

UNIT = 2048  # a weight of 1


def resize(pixels: Tensor, height: int, width: int) -> Tensor:
    """(N, C, height, width) of (N, C, H, W), both float32 that hold whole numbers from 0 to 255."""
    left, right, fraction = _neighbours(pixels.shape[3], width, clamped=True)
    rows = pixels.index_select(3, left) * _weight(1 - fraction) + pixels.index_select(3, right) * _weight(fraction)
    rows = (rows / 16).floor()  # to 15 bits
    top, bottom, fraction = _neighbours(pixels.shape[2], height, clamped=False)
    above = _scaled(rows.index_select(2, top), _weight(1 - fraction)[:, None])
    below = _scaled(rows.index_select(2, bottom), _weight(fraction)[:, None])
    return ((above + below + 2) / 4).floor().clamp(0, 255)


def _neighbours(size: int | Tensor, wanted: int, clamped: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Places (wanted,) of the two pixels of ``size`` between which each new one lies, and how far from the first.

    At the border both are the last pixel; ``clamped`` says whether the second then has no weight (OpenCV's columns), or
    what is its own (its rows).
    """
    size = torch.as_tensor(size).float()
    centre = (2 * torch.arange(wanted).float() + 1) * size - wanted  # in units of 1 / (2 wanted)
    first = (centre / (2 * wanted)).floor()
    fraction = (centre - first * (2 * wanted)) / (2 * wanted)
    if clamped:
        fraction = fraction * ((first >= 0) & (first < size - 1)).float()
    places = [torch.minimum(place.clamp_min(0), size - 1).long() for place in (first, first + 1)]
    return places[0], places[1], fraction


def _weight(share: Tensor) -> Tensor:
    return (share * UNIT).round()


def _scaled(rows: Tensor, weight: Tensor) -> Tensor:
    """The product without its last 16 bits, eight at a time, so that it never has more than 24."""
    high = (rows / 256).floor()
    low = rows - 256 * high
    return ((weight * high + (weight * low / 256).floor()) / 256).floor()
