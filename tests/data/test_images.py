"""Decoding: upright, to 8 bits, strictly; the same by every way in."""

import io

import cv2
import numpy as np
import pytest
from PIL import Image

from reid.data.check import undecodable_reason
from reid.data.images import read_image
from reid.errors import InputError
from reid.gallery.catalogue.thumbnails import thumbnail

COLOURS = np.random.default_rng(0).integers(0, 256, (8, 4, 3), dtype=np.uint8)
GREY = COLOURS[..., 0]
DEEP = np.random.default_rng(1).integers(0, 2**16, (8, 4), dtype=np.uint16)
# How a camera stores an upright picture (rows, columns) under each EXIF orientation: EXIF 2.3, table of tag 274, where
# (first row, first column) lie at 1 top left, 2 top right, 3 bottom right, 4 bottom left, 5 left top, 6 right top, ...
STORED = {
    1: lambda a: a,
    2: np.fliplr,
    3: lambda a: np.rot90(a, 2),
    4: np.flipud,
    5: lambda a: np.swapaxes(a, 0, 1),
    6: lambda a: np.rot90(a, 1),
    7: lambda a: np.rot90(np.swapaxes(a, 0, 1), 2),
    8: lambda a: np.rot90(a, -1),
}


def three(grey):
    return np.repeat(grey[..., None], 3, axis=2)


def saved(image, path, **options):
    Image.fromarray(np.ascontiguousarray(image)).save(path, **options)
    return read_image(path)


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize(
    ("suffix", "options"),
    [
        ("png", {}),
        ("webp", {"lossless": True}),
        ("tif", {}),
        ("tif", {"compression": "tiff_lzw"}),
        ("tif", {"compression": "tiff_deflate"}),
    ],
)
@pytest.mark.parametrize("pixels", [COLOURS, GREY], ids=["colour", "grey"])
def test_a_photo_is_upright_however_the_camera_was_held(tmp_path, orientation, suffix, options, pixels):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"a.{suffix}"
    found = saved(STORED[orientation](pixels), path, exif=exif, **options)
    upright = pixels if pixels.ndim == 3 else three(pixels)
    np.testing.assert_array_equal(found, upright)
    assert found.flags.c_contiguous
    assert thumbnail(found) == thumbnail(upright)
    assert undecodable_reason(path.read_bytes()) is None


def test_a_jpeg_on_its_side_is_the_upright_one(tmp_path):
    upright = cv2.resize(COLOURS, (32, 64), interpolation=cv2.INTER_LINEAR)
    exif = Image.Exif()
    exif[0x0112] = 6
    found = saved(STORED[6](upright), tmp_path / "a.jpg", quality=98, subsampling=0, exif=exif)
    assert found.shape == (64, 32, 3) and np.abs(found.astype(int) - upright).mean() < 3


@pytest.mark.parametrize("value", [0, 9, 65535])
def test_an_orientation_that_does_not_exist_turns_nothing(tmp_path, value):
    exif = Image.Exif()
    exif[0x0112] = value
    np.testing.assert_array_equal(saved(COLOURS, tmp_path / "a.png", exif=exif), COLOURS)


@pytest.mark.parametrize(
    "content", [b"", b"II*\0", b"MM\0*" + b"\xff" * 40, bytes(range(60)), b"II*\0\x08\0\0\0\xff\xff"]
)
@pytest.mark.parametrize("suffix", ["png", "jpg", "webp"])
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_damaged_exif_data_does_not_lose_the_picture(tmp_path, content, suffix):
    assert saved(COLOURS, tmp_path / f"a.{suffix}", exif=b"Exif\0\0" + content).shape == (8, 4, 3)


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_16_bit_greys_are_scaled_and_rounded(tmp_path, suffix):
    expected = three(np.floor(DEEP / 257 + 0.5).astype(np.uint8))  # 65535 / 257 = 255
    np.testing.assert_array_equal(saved(DEEP, tmp_path / f"a.{suffix}"), expected)
    np.testing.assert_array_equal(saved(GREY.astype(np.uint16) * 257, tmp_path / f"b.{suffix}"), three(GREY))
    cv2.imwrite(str(tmp_path / f"c.{suffix}"), DEEP)
    np.testing.assert_array_equal(read_image(tmp_path / f"c.{suffix}"), expected)


def test_16_bit_greys_of_other_byte_order_and_with_white_as_zero(tmp_path):
    expected = np.floor(DEEP / 257 + 0.5).astype(np.uint8)
    np.testing.assert_array_equal(saved(DEEP.astype(">u2"), tmp_path / "a.tif"), three(expected))
    np.testing.assert_array_equal(saved(DEEP, tmp_path / "b.tif", tiffinfo={262: 0}), three(255 - expected))


def test_12_bit_greys_have_their_own_white(tmp_path):
    """Written by hand: Pillow reads such a TIFF and writes none. Two values in three bytes, as libtiff packs them."""
    values = [0, 4095, 2048, 1]
    packed = b"".join(
        bytes([a >> 4, (a & 15) << 4 | b >> 8, b & 255]) for a, b in zip(values[::2], values[1::2], strict=True)
    )
    tags = [(256, 4, 4), (257, 4, 1), (258, 3, 12), (259, 3, 1), (262, 3, 1), (273, 4, 200), (277, 3, 1), (278, 4, 1)]
    tags.append((279, 4, len(packed)))
    entries = b"".join(
        tag.to_bytes(2, "little") + kind.to_bytes(2, "little") + b"\1\0\0\0" + value.to_bytes(4, "little")
        for tag, kind, value in tags
    )
    head = b"II*\0\x08\0\0\0" + len(tags).to_bytes(2, "little") + entries + bytes(4)
    (tmp_path / "a.tif").write_bytes(head.ljust(200, b"\0") + packed)
    assert read_image(tmp_path / "a.tif")[0, :, 0].tolist() == [0, 255, 128, 0]  # 2048 / 4095 * 255 = 127.53


def test_16_bit_colours_are_the_upper_byte(tmp_path):
    deep = np.random.default_rng(2).integers(0, 2**16, COLOURS.shape, dtype=np.uint16)
    for name in ("a.png", "a.tif"):
        cv2.imwrite(str(tmp_path / name), deep[..., ::-1])
        np.testing.assert_array_equal(read_image(tmp_path / name), (deep >> 8).astype(np.uint8))


def test_opaque_pixels_stay_and_transparency_is_dropped(tmp_path):
    alpha = np.random.default_rng(3).integers(0, 256, GREY.shape, dtype=np.uint8)
    palette = Image.fromarray(COLOURS).quantize(32)
    for name, image, expected, options in (
        ("rgb.png", COLOURS, COLOURS, {}),
        ("rgb.bmp", COLOURS, COLOURS, {}),
        ("rgb.tif", COLOURS, COLOURS, {}),
        ("rgb.webp", COLOURS, COLOURS, {"lossless": True}),
        ("grey.png", GREY, three(GREY), {}),
        ("rgba.png", np.dstack([COLOURS, alpha]), COLOURS, {}),
        ("rgba.tif", np.dstack([COLOURS, alpha]), COLOURS, {}),
        ("rgba.webp", np.dstack([COLOURS, alpha]), COLOURS, {"lossless": True, "exact": True}),
        ("la.png", np.dstack([GREY, alpha]), three(GREY), {}),
        ("colour_key.png", COLOURS, COLOURS, {"transparency": tuple(COLOURS[0, 0].tolist())}),
        ("grey_key.png", GREY, three(GREY), {"transparency": int(GREY[0, 0])}),
        ("palette.png", palette, np.asarray(palette.convert("RGB")), {}),
        ("palette_key.png", palette, np.asarray(palette.convert("RGB")), {"transparency": 0}),
        ("palette_alpha.png", palette, np.asarray(palette.convert("RGB")), {"transparency": bytes(range(32))}),
        ("bits.png", GREY > 127, three((GREY > 127).astype(np.uint8) * 255), {}),
        ("bits.tif", GREY > 127, three((GREY > 127).astype(np.uint8) * 255), {"compression": "group4"}),
    ):
        path = tmp_path / name
        (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(path, **options)
        np.testing.assert_array_equal(read_image(path), expected, err_msg=name)


def test_reading_kinds_of_images(tmp_path):
    for name, image in {
        "grey.png": Image.new("L", (4, 8), 128),
        "alpha.png": Image.new("RGBA", (4, 8), (128, 128, 128, 7)),
        "palette.png": Image.new("RGB", (4, 8), (128, 128, 128)).quantize(4),
        "cmyk.jpg": Image.new("RGB", (4, 8), (128, 128, 128)).convert("CMYK"),
        "ycbcr.tif": Image.new("RGB", (4, 8), (128, 128, 128)).convert("YCbCr"),
    }.items():
        image.save(tmp_path / name)
        pixels = read_image(tmp_path / name)
        assert pixels.shape == (8, 4, 3) and pixels.dtype == np.uint8 and abs(int(pixels[0, 0, 0]) - 128) < 2


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((8, 4), np.float32), "mode F are not read"),
        (np.zeros((8, 4), np.int32), "mode I are not read"),
        (Image.new("LAB", (4, 8)), "mode LAB are not read"),
    ],
)
def test_pixels_without_a_white_are_refused(tmp_path, image, message):
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(tmp_path / "a.tif")
    with pytest.raises(InputError, match=r"a\.tif: not a readable image: pixels of " + message):
        read_image(tmp_path / "a.tif")


def test_of_several_pictures_the_one_that_viewers_show_or_none(tmp_path):
    one, two = Image.fromarray(COLOURS), Image.fromarray(255 - COLOURS)
    one.save(tmp_path / "a.png", save_all=True, append_images=[two])
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), COLOURS)
    big, other = (image.resize((64, 128)) for image in (one, two))
    big.save(tmp_path / "a.jpg", format="MPO", save_all=True, append_images=[other], quality=98)
    assert np.abs(read_image(tmp_path / "a.jpg").astype(int) - np.asarray(big)).mean() < 5
    for name in ("a.tif", "a.webp"):
        one.save(tmp_path / name, save_all=True, append_images=[two])
        with pytest.raises(InputError, match=rf"{name}: not a readable image: it holds 2 pictures"):
            read_image(tmp_path / name)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("JPEG", {}),
        ("PNG", {}),
        ("BMP", {}),
        ("WEBP", {}),
        ("WEBP", {"lossless": True}),
        *(("TIFF", {"compression": name}) for name in (None, "tiff_lzw", "tiff_deflate", "packbits", "jpeg")),
    ],
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_no_cut_file_is_read(tmp_path, kind, options):
    content = io.BytesIO()
    Image.fromarray(np.tile(COLOURS, (8, 8, 1))).save(content, kind, **options)
    whole = content.getvalue()
    path = tmp_path / "cut.jpg"
    for length in [*range(0, len(whole) - 40, max(1, len(whole) // 40)), len(whole) - 40]:
        path.write_bytes(whole[:length])
        with pytest.raises(InputError, match=r"cut\.jpg: not a readable image"):
            read_image(path)
        assert undecodable_reason(whole[:length]) is not None


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


def test_a_tiff_with_a_damaged_second_page_is_named(tmp_path):
    Image.fromarray(COLOURS).save(tmp_path / "a.tif")
    content = bytearray((tmp_path / "a.tif").read_bytes())
    directory = int.from_bytes(content[4:8], "little")
    following = directory + 2 + 12 * int.from_bytes(content[directory : directory + 2], "little")
    content[following : following + 4] = len(content).to_bytes(4, "little")  # a directory without entries
    (tmp_path / "a.tif").write_bytes(content + bytes(6))
    with pytest.raises(InputError, match=r"a\.tif: not a readable image"):
        read_image(tmp_path / "a.tif")
    assert undecodable_reason(bytes(content + bytes(6))) is not None


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("kind", ["TIFF", "WEBP", "PNG", "JPEG"])
def test_no_damage_ends_in_another_error(kind):
    generator = np.random.default_rng(0)
    exif = Image.Exif()
    exif[0x0112] = 6
    content = io.BytesIO()
    Image.fromarray(np.tile(COLOURS, (2, 2, 1))).save(content, kind, exif=exif)
    whole = content.getvalue()
    refused = 0
    for _ in range(150):
        damaged = bytearray(whole)
        for bit in generator.integers(8 * len(whole), size=generator.integers(1, 6)):
            damaged[bit // 8] ^= 1 << (bit % 8)
        refused += undecodable_reason(bytes(damaged)) is not None
    assert undecodable_reason(whole) is None and refused > 0


def test_only_the_formats_of_data_sets_are_tried(tmp_path):
    """Pillow would start Ghostscript for PostScript, whatever the file's suffix."""
    path = tmp_path / "image.jpg"
    path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n")
    with pytest.raises(InputError, match="not a readable image: cannot identify"):
        read_image(path)


def test_pillow_without_webp_is_named(tmp_path, monkeypatch):
    Image.fromarray(COLOURS).save(tmp_path / "a.webp")
    monkeypatch.setattr("reid.data.images.features.check", lambda name: False)
    monkeypatch.setattr("PIL.WebPImagePlugin.SUPPORTED", False)
    with pytest.warns(UserWarning), pytest.raises(InputError, match="built without WebP"):
        read_image(tmp_path / "a.webp")
