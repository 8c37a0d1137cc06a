"""Fuzzed and hostile uploads: answered with a reason, never a 500, never much memory."""

import io
import struct
import tracemalloc
import zipfile
import zlib

import numpy as np
import pytest

pytest.importorskip("fastapi")
from fastapi.testclient import TestClient
from PIL import Image
from small_gallery import application, encoded, lines
from starlette.exceptions import HTTPException

from reid.data.images import read_image
from reid.gallery.web.pictures import SCANS, Limits, decode

MEMORY = 40_000_000  # bytes at most while 200 hostile uploads are answered


def noise(generator, size=(48, 24)):
    return generator.integers(0, 256, (*size, 3)).astype(np.uint8)


def chunk(kind, content):
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(width, height, content=b"", *more):
    """Made by hand: the header may promise anything."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + b"".join(more) + chunk(b"IDAT", content) + chunk(b"IEND", b"")
    )


def bmp(width, height, content=b""):
    header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", 54 + len(content), 0, 0, 54) + header + content


def jpeg_of_size(width, height):
    """A JPEG whose frame header is overwritten."""
    content = bytearray(encoded(np.zeros((16, 16, 3), np.uint8), "JPEG"))
    at = content.index(b"\xff\xc0") + 5
    content[at : at + 4] = struct.pack(">HH", height, width)
    return bytes(content)


def webp_of_size(width, height):
    """A lossless WebP whose size is overwritten: 14 bits each, less one."""
    file = io.BytesIO()
    Image.new("RGB", (16, 16)).save(file, "WEBP", lossless=True)
    content = bytearray(file.getvalue())
    at = content.index(b"VP8L") + 9
    rest = int.from_bytes(content[at : at + 4], "little") >> 28 << 28
    content[at : at + 4] = (rest | (height - 1) << 14 | (width - 1)).to_bytes(4, "little")
    return bytes(content)


def many_scans():
    file = io.BytesIO()
    Image.new("RGB", (64, 64)).save(file, "JPEG", progressive=True)
    content = file.getvalue()
    scan = content[content.rindex(b"\xff\xda") : -2]
    return content[:-2] + scan * 5000 + content[-2:]


def archive():
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as inside:
        inside.writestr("payload.py", "raise SystemExit")
    return file.getvalue()


def hostile(generator):
    """[(name, content, whether it is a readable picture, or None: either)]."""
    image = noise(generator)
    jpeg, plain, bitmap = (encoded(image, kind) for kind in ("JPEG", "PNG", "BMP"))
    exif = Image.Exif()
    exif[0x010E] = "x" * 60_000
    junk = io.BytesIO()
    Image.fromarray(image).save(junk, "JPEG", exif=exif)
    animation = io.BytesIO()
    frames = [Image.fromarray(noise(generator)) for _ in range(3)]
    frames[0].save(animation, "PNG", save_all=True, append_images=frames[1:])
    webp = encoded(image, "WEBP")
    moving = io.BytesIO()
    frames[0].save(moving, "WEBP", save_all=True, append_images=frames[1:])
    gif = io.BytesIO()
    Image.fromarray(image).save(gif, "GIF")
    tiff = io.BytesIO()
    Image.fromarray(image).save(tiff, "TIFF")
    flood = zlib.compress(bytes(50_000_000))
    return [
        ("empty", b"", False),
        ("one byte", b"\xff", False),
        ("jpeg and zip", jpeg + archive(), True),
        ("zip and jpeg", archive() + jpeg, False),
        ("png and html", plain + b"<script>alert(1)</script>", True),
        ("bmp and trailing bytes", bitmap + bytes(100_000), True),
        ("exif junk", junk.getvalue(), True),
        ("animated png", animation.getvalue(), True),
        ("webp", webp, True),
        ("webp and zip", webp + archive(), True),
        ("webp larger than it says", webp_of_size(16_000, 16_000), False),
        ("webp cut short", webp[:-30], False),
        ("animated webp", moving.getvalue(), False),
        ("gif", gif.getvalue(), False),
        ("gif header on a jpeg", b"GIF89a" + jpeg, False),
        ("tiff", tiff.getvalue(), False),
        ("svg", b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>', False),
        ("html", b"<!doctype html><script>alert(1)</script>", False),
        ("pdf", b"%PDF-1.7\n1 0 obj\n", False),
        ("eps", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n", False),
        ("pickle", b"\x80\x04cos\nsystem\n(S'true'\ntR.", False),
        ("png bomb", png(50_000, 50_000, flood), False),
        ("png bomb below Pillow's bound", png(9_000, 9_000, flood), False),
        ("png within the bound, little inside", png(4_000, 4_000, zlib.compress(b"0")), False),
        ("png of a line", png(19_000_000, 1, flood), False),
        ("png of no size", png(0, 0), False),
        ("png text bomb", png(8, 8, zlib.compress(bytes(200)), chunk(b"zTXt", b"a\0\0" + flood)), None),
        ("png profile bomb", png(8, 8, zlib.compress(bytes(200)), chunk(b"iCCP", b"a\0\0" + flood)), None),
        ("bmp bomb", bmp(50_000, 50_000), False),
        ("bmp upside down", bmp(50_000, -50_000), False),
        ("bmp negative", bmp(-5, 5), False),
        ("bmp cut short", bmp(1000, 1000), False),
        ("jpeg bomb", jpeg_of_size(65_500, 65_500), False),
        ("jpeg of no size", jpeg_of_size(0, 0), False),
        ("jpeg larger than it says", jpeg_of_size(2000, 2000), None),
        ("jpeg of many scans", many_scans(), False),
    ]


def fuzzed(generator, count):
    """Valid pictures, cut at random places or with random bits turned."""
    for number in range(count):
        content = bytearray(encoded(noise(generator), ("JPEG", "PNG", "BMP", "WEBP")[number // 2 % 4]))
        if number % 2:
            yield f"cut {number}", bytes(content[: generator.integers(len(content))]), False
            continue
        for bit in generator.integers(8 * len(content), size=generator.integers(1, 30)):
            content[bit // 8] ^= 1 << (bit % 8)
        yield f"turned {number}", bytes(content), None


def test_hostile_uploads_are_answered(tmp_path):
    generator = np.random.default_rng(0)
    named = hostile(generator)
    uploads = [*named, *fuzzed(generator, 200)]
    app = application(tmp_path)
    client = TestClient(app, "http://localhost", headers={"X-Requested-With": "gallery"}, raise_server_exceptions=False)
    client.post("/api/search", files={"image": encoded(noise(generator))})  # what is loaded once is no upload's memory
    answered = {}
    tracemalloc.start()
    for name, content, good in uploads:
        answer = client.post("/api/search", files={"image": ("a.jpg", content, "image/jpeg")})
        answered[name] = answer.status_code
        assert answer.status_code in (200, 400, 413, 415, 422), (name, answer.status_code, answer.text)
        assert good is None or (answer.status_code == 200) == good, (name, answer.text)
        if answer.status_code != 200:
            assert list(answer.json()) == ["error"] and "Traceback" not in answer.text
    assert tracemalloc.get_traced_memory()[1] < MEMORY
    tracemalloc.stop()
    assert answered["png bomb"] == answered["bmp bomb"] == answered["jpeg bomb"] == 413
    assert answered["png of a line"] == 413 and answered["gif"] == answered["pdf"] == 415
    assert len(lines(app.state.desk.service.gallery)) == 1 + list(answered.values()).count(200)


def resident():
    """Bytes, the most so far; Pillow's own memory included."""
    with open("/proc/self/status") as file:  # noqa: PTH123
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmHWM"))


def test_bombs_are_refused_before_they_are_decoded():
    bombs = [content for name, content, _ in hostile(np.random.default_rng(0)) if "bomb" in name or "line" in name]
    with open("/proc/self/clear_refs", "w") as file:  # noqa: PTH123
        file.write("5")  # the mark starts anew
    before = resident()
    for content in bombs:
        try:
            decode(content, Limits())
        except HTTPException as error:
            assert error.status_code in (413, 415, 422)
    assert resident() - before < MEMORY


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "WEBP"])
@pytest.mark.parametrize("mode", ["RGB", "L", "P", "1"])
def test_what_is_whole_is_decoded_as_pillow_does(kind, mode):
    if (kind, mode) in (("JPEG", "P"), ("JPEG", "1")):
        pytest.skip("there is no such JPEG")
    image = Image.fromarray(noise(np.random.default_rng(1))).convert(mode)
    file = io.BytesIO()
    image.save(file, kind)
    decoded = decode(file.getvalue(), Limits())
    assert decoded.dtype == np.uint8
    np.testing.assert_array_equal(decoded, np.asarray(Image.open(file).convert("RGB")))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_upload_is_upright_as_the_file_is(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(noise(np.random.default_rng(1))).save(tmp_path / "a.png", exif=exif)
    decoded = decode((tmp_path / "a.png").read_bytes(), Limits())
    assert decoded.shape == ((48, 24, 3) if orientation < 5 else (24, 48, 3))
    np.testing.assert_array_equal(decoded, read_image(tmp_path / "a.png"))


def test_pixels_are_limited_to_the_pixel():
    content = encoded(np.zeros((10, 20, 3), np.uint8))
    assert decode(content, Limits(pixels=200)).shape == (10, 20, 3)
    with pytest.raises(HTTPException, match="20 x 10 pixels; allowed are 199"):
        decode(content, Limits(pixels=199))


def test_usual_progressive_pictures_pass():
    file = io.BytesIO()
    Image.fromarray(noise(np.random.default_rng(2), (300, 150))).save(file, "JPEG", progressive=True)
    assert 1 < file.getvalue().count(b"\xff\xda") < SCANS / 5
    assert decode(file.getvalue(), Limits()).shape == (300, 150, 3)


def test_only_a_jpeg_is_counted_for_scans():
    pixels = np.tile(np.array([0, 218, 255], np.uint8), (40, 40, 1))  # as BMP: nothing but the bytes of scan markers
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "BMP")
    assert file.getvalue().count(b"\xff\xda") > 100
    assert np.array_equal(decode(file.getvalue(), Limits()), pixels)
