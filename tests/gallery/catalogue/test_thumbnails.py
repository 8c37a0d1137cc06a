import io

import numpy as np
import pytest
from PIL import Image

from reid.gallery.catalogue.thumbnails import crop, thumbnail


@pytest.mark.parametrize(("size", "expected"), [
    ((512, 256), (256, 128)),
    ((256, 128), (256, 128)),
    ((1000, 100), (256, 26)),
    ((100, 1000), (13, 128)),
    ((40, 20), (40, 20)),
    ((1, 1), (1, 1)),
])  # fmt: skip
def test_fits_into_the_size_and_is_never_enlarged(size, expected):
    image = np.full((*size, 3), (200, 30, 90), np.uint8)
    with Image.open(io.BytesIO(thumbnail(image))) as picture:
        assert picture.format == "JPEG" and picture.size == expected[::-1]
        assert np.abs(np.asarray(picture).astype(int) - (200, 30, 90)).max() <= 4
        assert not picture.getexif()


def test_a_box_is_cut_out():
    image = np.zeros((60, 80, 3), np.uint8)
    image[10:50, 20:40] = 255
    with Image.open(io.BytesIO(thumbnail(image, (20, 10, 40, 50)))) as picture:
        assert picture.size == (20, 40) and np.asarray(picture).min() >= 250
    assert crop(image, (20, 10, 40, 50)).shape == (40, 20, 3)
    assert thumbnail(image, (20, 10, 40, 50)) == thumbnail(image[10:50, 20:40])
