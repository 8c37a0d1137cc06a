"""Frames of a video by rate and by number, and files that are damaged."""

import logging
import re
import struct
from pathlib import Path

import cv2
import numpy as np
import pytest
from drawn_video import write_video

from reid.errors import InputError
from reid.video import clock
from reid.video import frames as module
from reid.video.frames import frames, read_frame


def place(number):
    return [("red", (4 * number, 20, 4 * number + 40, 120))]


def shown(image):
    """The number of the frame whose image it is."""
    return round(np.nonzero(image[60, :, 0] > 110)[0].min() / 4)


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    return write_video(tmp_path_factory.mktemp("video") / "walk.avi", place, 50)


@pytest.mark.parametrize(("rate", "numbers"), [
    (20, list(range(50))),
    (1000, list(range(50))),
    (10, list(range(0, 50, 2))),
    (5, list(range(0, 50, 4))),
    (8, [0, 3, 5, 8, 10, 13, 15, 18, 20, 23, 25, 28, 30, 33, 35, 38, 40, 43, 45, 48]),
    (1, [0, 20, 40]),
    (0.1, [0]),
])  # fmt: skip
def test_the_first_frame_of_every_period(video, rate, numbers):
    found = list(frames(video, rate, progress=False))
    assert [frame.number for frame in found] == numbers
    assert [shown(frame.image) for frame in found] == numbers
    np.testing.assert_allclose([frame.seconds for frame in found], np.array(numbers) / 20, atol=1e-6)
    assert found[0].image.shape == (240, 320, 3) and found[0].image.dtype == np.uint8


@pytest.mark.parametrize("number", [0, 1, 13, 48, 49])
def test_a_frame_by_its_number_is_the_very_one(video, number, monkeypatch):
    expected = next(frame.image for frame in frames(video, 1000, progress=False) if frame.number == number)
    np.testing.assert_array_equal(read_frame(video, number), expected)
    monkeypatch.setattr(module, "_jump", lambda *_: False)  # as for a video whose frames are not evenly spaced
    np.testing.assert_array_equal(read_frame(video, number), expected)


def test_a_frame_by_its_number_where_the_frames_are_not_evenly_spaced(tmp_path):
    path = write_video(tmp_path / "hole.mkv", place, 50)
    content = bytearray(path.read_bytes())
    blocks = list(re.finditer(rb"\xa3(?:[\x80-\xff]|[\x40-\x7f].)\x81(..)\x80", content, re.DOTALL))
    assert len(blocks) == 50
    for block in blocks[25:]:  # the second half of the frames comes a second later: Matroska's block times, in ms
        content[block.start(1) : block.end(1)] = (int.from_bytes(block[1], "big") + 1000).to_bytes(2, "big")
    path.write_bytes(content)
    found = list(frames(path, 1000, progress=False))
    seconds = [number / 20 + (number >= 25) for number in range(50)]
    np.testing.assert_allclose([frame.seconds for frame in found], seconds, atol=1e-6)
    for frame in (found[number] for number in (1, 24, 25, 29, 30, 45, 49)):
        assert frame.number == shown(frame.image)
        np.testing.assert_array_equal(read_frame(path, frame.number), frame.image)


@pytest.mark.parametrize("number", [50, 1000])
def test_no_such_frame(video, number):
    with pytest.raises(InputError, match=rf"walk.avi: has no frame {number}"):
        read_frame(video, number)


def test_a_file_cut_short_gives_what_it_has_and_says_so(video, tmp_path, caplog):
    cut = tmp_path / "cut.avi"
    cut.write_bytes(video.read_bytes()[: video.stat().st_size // 2])
    with caplog.at_level(logging.WARNING):
        found = list(frames(cut, 1000, progress=False))
    assert 10 < len(found) < 40
    assert f"cut.avi: ends early, or is damaged: {len(found)} of 50 frames" in caplog.text
    assert shown(read_frame(cut, 7)) == 7
    with pytest.raises(InputError, match=r"cut.avi: has no frame 45"):
        read_frame(cut, 45)


@pytest.mark.parametrize("content", [b"", b"hello", b"\0" * 5000])
def test_no_video(tmp_path, content):
    path = tmp_path / "none.mp4"
    path.write_bytes(content)
    for read in (lambda: list(frames(path, 5, progress=False)), lambda: read_frame(path, 0)):
        with pytest.raises(InputError, match=r"none.mp4: not a readable video"):
            read()
        path.with_name("none.mp4").touch()
    with pytest.raises(InputError, match=r"gone.mp4: no such file"):
        read_frame(tmp_path / "gone.mp4", 0)


def test_a_header_without_a_frame(video, tmp_path):
    path = tmp_path / "header.avi"
    content = video.read_bytes()
    path.write_bytes(content[: content.index(b"movi") + 4])
    with pytest.raises(InputError, match=r"header.avi: (no frame in it can be read|not a readable video)"):
        list(frames(path, 5, progress=False))


DATA = Path(__file__).parents[1] / "data" / "video"


def drawn(image):
    """The number of the frame in tests/data/video whose image it is."""
    return round(np.nonzero(image[60, :, 0] > 110)[0].min() / 2)


def walk(path, count=100, suffix=".avi"):
    """A video of ``count`` frames, the k-th showing its rectangle at 2 k."""
    red = lambda number: [("red", (2 * number, 20, 2 * number + 40, 120))]  # noqa: E731
    return write_video(path.with_suffix(suffix), red, count)


def blank(path, numbers, target):
    """The AVI file with the coded frames of these numbers made zeros."""
    content = bytearray(path.read_bytes())
    place = content.index(b"movi") + 4
    for number in range(max(numbers) + 1):
        place = content.index(b"00dc", place)
        size = int.from_bytes(content[place + 4 : place + 8], "little")
        if number in numbers:
            content[place + 8 : place + 8 + size] = bytes(size)
        place += 8 + size
    target.write_bytes(content)
    return target


def check_the_very_ones(path, found, numbers):
    """Each of these found frames is the one that its number brings, whatever was read before."""
    for frame in (found[place] for place in numbers):
        np.testing.assert_array_equal(read_frame(path, frame.number), frame.image)


@pytest.mark.parametrize(("name", "count", "period"), [
    ("raw.h264", 40, 1 / 25), ("raw.hevc", 20, 1 / 25), ("joined.ts", 20, 1 / 20), ("divx.avi", 12, 1 / 20),
])  # fmt: skip
def test_without_a_whole_clock_frames_are_counted(name, count, period, caplog):
    path = DATA / name
    found = list(frames(path, 1000, progress=False))
    assert [frame.number for frame in found] == list(range(count))
    assert [drawn(frame.image) for frame in found] == list(range(count))
    np.testing.assert_allclose([frame.seconds for frame in found], period * np.arange(count), atol=1e-6)
    assert f"{name}: its time stamps are missing, stand still or fall: where they do, a frame counts for" in caplog.text
    assert "could be read" not in caplog.text
    check_the_very_ones(path, found, (0, 1, count // 2, count - 1))
    few = list(frames(path, 5, progress=False))
    assert [drawn(frame.image) for frame in few] == list(range(0, count, round(1 / (5 * period))))
    with pytest.raises(InputError, match=rf"{name}: has no frame {count}"):
        read_frame(path, count)


def test_frames_stored_in_another_order(caplog):
    path = DATA / "reordered.mp4"
    found = list(frames(path, 1000, progress=False))
    assert [frame.number for frame in found] == [drawn(frame.image) for frame in found] == list(range(40))
    np.testing.assert_allclose([frame.seconds for frame in found], np.arange(40) / 20, atol=1e-6)
    check_the_very_ones(path, found, range(40))
    assert not caplog.text


def test_ten_bits_a_channel():
    found = list(frames(DATA / "ten_bit.mkv", 1000, progress=False))
    assert [drawn(frame.image) for frame in found] == [0, 1, 2, 3]
    assert found[0].image.dtype == np.uint8
    np.testing.assert_allclose(found[0].image[60, 20], (220, 30, 30), atol=12)


@pytest.mark.parametrize(("damaged", "places"), [
    ([48], "1 gap: before frame 49"),
    ([20, 21, 22, 60], "2 gaps: before frame 23, before frame 61"),
    (list(range(1, 99)), "1 gap: before frame 99"),
    (list(range(10, 90, 10)), "8 gaps: before frame 11, .*, before frame 51 and 3 more"),
])  # fmt: skip
def test_damaged_frames_leave_gaps_that_are_told(tmp_path, caplog, damaged, places):
    path = blank(walk(tmp_path / "whole"), damaged, tmp_path / "damaged.avi")
    found = list(frames(path, 1000, progress=False))
    left = [number for number in range(100) if number not in damaged]
    assert [frame.number for frame in found] == [drawn(frame.image) for frame in found] == left
    np.testing.assert_allclose([frame.seconds for frame in found], np.array(left) / 20, atol=1e-6)
    assert re.search(rf"damaged.avi: .* damaged: {len(left)} of 100 frames could be read; {places}", caplog.text)
    check_the_very_ones(path, found, {0, len(left) // 2, len(left) - 1})
    with pytest.raises(InputError, match=rf"damaged.avi: has no frame {damaged[-1]}, or it cannot be read"):
        read_frame(path, damaged[-1])


def test_more_failures_than_are_tolerated_end_a_video(tmp_path, caplog, monkeypatch):
    path = blank(walk(tmp_path / "whole", 40), range(10, 31), tmp_path / "damaged.avi")
    monkeypatch.setattr(clock, "TOLERATED", 21)
    assert len(list(frames(path, 1000, progress=False))) == 10
    assert "damaged.avi: ends early, or is damaged: 10 of 40 frames could be read" in caplog.text
    monkeypatch.setattr(clock, "TOLERATED", 22)
    assert len(list(frames(path, 1000, progress=False))) == 19


def times_of(path, change, damaged=None):
    """Change the time, in ms, of each frame of a Matroska file to ``change(number)``; make one frame's bytes zeros."""
    content = bytearray(path.read_bytes())
    blocks = list(re.finditer(rb"\xa3(?:[\x80-\xff]|[\x40-\x7f].)\x81(..)\x80", content, re.DOTALL))
    assert len(blocks) == 50
    for number, block in enumerate(blocks):  # times in the file count from their cluster's
        own = int.from_bytes(block[1], "big", signed=True) + change(number) - 50 * number
        content[block.start(1) : block.end(1)] = own.to_bytes(2, "big", signed=True)
        if number == damaged:
            content[block.end() : block.end() + 700] = bytes(700)
    path.write_bytes(content)


@pytest.mark.parametrize("change", [
    lambda number: 50 * number + (0 if number < 25 else 30_000),  # a leap forward
    lambda number: 40 * number if number < 25 else 1000 + 120 * (number - 25),  # slower from the middle on
    lambda number: round(1000 * (number / 20 + 0.02 * np.sin(number))),  # a telephone's
    lambda number: 50 * number - 500,  # from before 0 on
])  # fmt: skip
def test_whatever_the_times_a_number_is_one_frame(tmp_path, change):
    path = walk(tmp_path / "times", 50, ".mkv")
    times_of(path, change)
    found = list(frames(path, 1000, progress=False))
    assert [frame.number for frame in found] == [drawn(frame.image) for frame in found] == list(range(50))
    expected = np.array([change(number) for number in range(50)]) / 1000
    np.testing.assert_allclose([frame.seconds for frame in found], expected - expected[0], atol=2e-3)
    check_the_very_ones(path, found, range(50))


def test_a_leap_in_a_broken_clock_is_not_believed(tmp_path, monkeypatch):
    monkeypatch.setattr(clock, "LEAP", 10.0)  # block times reach no farther than 32 s
    path = walk(tmp_path / "times", 50, ".mkv")
    times_of(path, lambda number: 0 if number < 10 else 32_000 if number == 30 else 50 * number)
    found = list(frames(path, 1000, progress=False))
    assert [drawn(frame.image) for frame in found] == [frame.number for frame in found] == list(range(50))
    seconds = np.array([frame.seconds for frame in found])
    assert (np.diff(seconds) > 0).all() and seconds[-1] < 4
    check_the_very_ones(path, found, (0, 9, 10, 29, 30, 31, 49))


def test_a_damaged_frame_where_frames_are_counted(tmp_path, caplog):
    path = walk(tmp_path / "times", 50, ".mkv")
    times_of(path, lambda number: 0 if number < 10 else 50 * number, damaged=20)
    found = list(frames(path, 1000, progress=False))
    left = [number for number in range(50) if number != 20]
    assert [drawn(frame.image) for frame in found] == [frame.number for frame in found] == left
    assert "49 of 50 frames could be read; 1 gap: before frame 21" in caplog.text
    check_the_very_ones(path, found, (0, 9, 10, 19, 20, 48))


def test_frames_turned_by_the_file_come_upright(tmp_path):
    path = write_video(tmp_path / "phone.mp4", place, 10)
    upright = [frame.image for frame in frames(path, 1000, progress=False)]
    content = bytearray(path.read_bytes())
    at = content.index(b"tkhd") + 44  # behind version, times, track, duration, layer, group and volume
    matrix = (0, 1 << 16, 0, -(1 << 16), 0, 0, 240 << 16, 0, 1 << 30)  # a quarter turn clockwise
    content[at : at + 36] = struct.pack(">9i", *matrix)
    path.write_bytes(content)
    found = list(frames(path, 1000, progress=False))
    assert found[0].image.shape == (320, 240, 3)
    for frame, image in zip(found, upright, strict=True):
        np.testing.assert_array_equal(frame.image, np.rot90(image, -1))
        np.testing.assert_array_equal(read_frame(path, frame.number), frame.image)


def test_one_frame(tmp_path):
    path = write_video(tmp_path / "one.avi", place, 1)
    (found,) = frames(path, 5, progress=False)
    assert (found.number, found.seconds, found.image.shape) == (0, 0.0, (240, 320, 3))
    np.testing.assert_array_equal(read_frame(path, 0), found.image)
    for number in (1, -1):
        with pytest.raises(InputError, match=rf"one.avi: has no frame {number}"):
            read_frame(path, number)


def test_pictures_in_a_row_of_an_odd_size(tmp_path):
    path = tmp_path / "row.mjpeg"
    pictures = [np.full((119, 161, 3), (30, 60 * number, 220), np.uint8) for number in range(4)]
    path.write_bytes(b"".join(cv2.imencode(".jpg", picture)[1].tobytes() for picture in pictures))
    found = list(frames(path, 1000, progress=False))
    assert [(frame.number, frame.image.shape) for frame in found] == [(number, (119, 161, 3)) for number in range(4)]
    for frame, picture in zip(found, pictures, strict=True):
        np.testing.assert_allclose(frame.image[..., ::-1], picture, atol=6)
    check_the_very_ones(path, found, range(4))


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_a_picture_is_no_video(tmp_path, suffix):
    path = tmp_path / "picture.mp4"
    path.write_bytes(cv2.imencode(suffix, np.full((120, 160, 3), 90, np.uint8))[1].tobytes())
    with pytest.raises(InputError, match=r"picture.mp4: not a readable video: it is a picture"):
        list(frames(path, 5, progress=False))


def test_sound_alone_and_a_recording_cut_off(tmp_path):
    with pytest.raises(InputError, match=r"sound.mp4: not a readable video$"):
        list(frames(DATA / "sound.mp4", 5, progress=False))
    content = write_video(tmp_path / "whole.mp4", place, 10).read_bytes()
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(content[: content.index(b"moov") - 4])
    with pytest.raises(InputError, match=r"cut.mp4: not a readable video: its index \(moov\) is missing"):
        list(frames(cut, 5, progress=False))


def test_a_rate_that_cannot_be_gives_no_times(tmp_path):
    path = walk(tmp_path / "fast", 20)
    content = bytearray(path.read_bytes())
    at = content.index(b"strh") + 28  # behind size, kind, codec, flags, priority and initial frames
    assert struct.unpack("<II", content[at : at + 8]) == (1, 20)
    content[at : at + 8] = struct.pack("<II", 1, 10**9)
    path.write_bytes(content)
    with pytest.raises(
        InputError, match=r"fast.avi: has neither time stamps nor a frame rate \(it says 1e\+09 a second"
    ):
        list(frames(path, 5, progress=False))
