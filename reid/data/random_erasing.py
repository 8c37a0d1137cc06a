"""Random erasing as published: Zhong et al., "Random Erasing Data Augmentation", AAAI 2020, algorithm 1."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # else the import asks the network for a newer version
import albumentations as A

TRIES = 100


class RandomErasing(A.ImageOnlyTransform):
    """Fill one rectangle of the image, with probability ``p``.

    Area and height / width are drawn uniformly, again until the rectangle is lower and narrower than the image: on
    images twice as high as wide a mean area of 20 % and a median height / width of 1.9. ``albumentations.Erasing``
    caps the area so that every ratio fits: at most 15 % there, mostly in wide bars.

    Args:
        area: least and largest share of the image.
        ratio: least and largest height / width.
        fill: colour of the rectangle, a value a channel in the image's own range.
    """

    def __init__(
        self,
        area: tuple[float, float] = (0.02, 0.4),
        ratio: tuple[float, float] = (0.3, 1 / 0.3),
        fill: tuple[int, ...] = (0, 0, 0),
        p: float = 0.5,
    ) -> None:
        super().__init__(p=p)
        self.area, self.ratio, self.fill = area, ratio, fill

    def apply(self, img: np.ndarray, box: tuple[int, int, int, int] | None = None, **params: Any) -> np.ndarray:
        """The image (h, w, C) with ``box`` (top, left, height, width) filled; as it is where there is none."""
        if box is None:
            return img
        top, left, height, width = box
        erased = img.copy()
        erased[top : top + height, left : left + width] = self.fill
        return erased

    def get_params_dependent_on_data(self, params: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
        """``box`` (top, left, height, width) in pixels; None where no try fitted, as in the published algorithm."""
        rows, columns = params["shape"][:2]
        draw = self.random_generator
        for _ in range(TRIES):
            pixels, ratio = draw.uniform(*self.area) * rows * columns, draw.uniform(*self.ratio)
            height, width = round((pixels * ratio) ** 0.5), round((pixels / ratio) ** 0.5)
            if height < rows and width < columns:
                top, left = draw.integers(rows - height + 1), draw.integers(columns - width + 1)
                return {"box": (int(top), int(left), height, width)}
        return {"box": None}
