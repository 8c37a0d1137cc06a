"""Frames of a video by rate and by number, and files that are damaged."""

import logging
import re

import numpy as np
import pytest
from drawn_video import write_video

from reid.errors import InputError
from reid.gallery.video import frames as module
from reid.gallery.video.frames import frames, read_frame


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
