import numpy as np
import pytest
from PIL import Image

from reid.data.images import read_image
from reid.errors import InputError


def test_reading_kinds_of_images(tmp_path):
    for name, image in {
        "grey.png": Image.new("L", (4, 8), 128),
        "alpha.png": Image.new("RGBA", (4, 8), (128, 128, 128, 7)),
        "palette.png": Image.new("RGB", (4, 8), (128, 128, 128)).quantize(4),
    }.items():
        image.save(tmp_path / name)
        pixels = read_image(tmp_path / name)
        assert pixels.shape == (8, 4, 3) and pixels.dtype == np.uint8 and abs(int(pixels[0, 0, 0]) - 128) < 2


@pytest.mark.parametrize("content", [b"", b"\xff\xd8\xff no jpeg", "truncated"])
def test_unreadable_images_are_named(tmp_path, content):
    path = tmp_path / "bad.jpg"
    if content == "truncated":
        noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
        Image.fromarray(noise).save(path)
        content = path.read_bytes()[:1500]
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"bad.jpg: not a readable image"):
        read_image(path)


def test_only_the_formats_of_data_sets_are_tried(tmp_path):
    """Pillow would start Ghostscript for PostScript, whatever the file's suffix."""
    path = tmp_path / "image.jpg"
    path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n")
    with pytest.raises(InputError, match="not a readable image: cannot identify"):
        read_image(path)
