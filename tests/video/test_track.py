"""The linker on boxes made by hand, and against a slow one that knows no state but the frames so far."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reid.video.track import Box, Linker, overlap


def box(left, top=0.0, width=10.0, height=20.0):
    return Box(left, top, left + width, top + height, 0.9)


def run(frames, min_overlap=0.3, max_gap=1):
    """(numbers, ended) of each frame, then what ends with the video."""
    linker = Linker(min_overlap, max_gap)
    return [linker.step(boxes) for boxes in frames], linker.end()


@pytest.mark.parametrize(("a", "b", "expected"), [
    (box(0), box(0), 1.0),
    (box(0), box(5), 1 / 3),
    (box(0), box(5, 10), 50 / 350),
    (box(0), box(10), 0.0),  # they touch
    (box(0), box(50, 50), 0.0),
    (box(0), box(2, 5, 4, 10), 40 / 200),  # inside
    (box(0, width=0), box(0, width=0), 0.0),
])  # fmt: skip
def test_overlap_by_hand(a, b, expected):
    assert overlap(a, b) == overlap(b, a) == pytest.approx(expected)


def test_one_person_is_one_fragment():
    steps, left = run([[box(x)] for x in range(0, 50, 3)])
    assert all(step == ([0], []) for step in steps) and left == [0]


def test_a_gap_is_bridged_and_a_longer_one_ends_the_fragment():
    there, gone = [box(0)], []
    assert run([there, gone, there], max_gap=1)[0] == [([0], []), ([], []), ([0], [])]
    assert run([there, gone, gone, there], max_gap=1) == ([([0], []), ([], []), ([], [0]), ([1], [])], [1])
    assert run([there, gone, there], max_gap=0)[0] == [([0], []), ([], [0]), ([1], [])]
    once_more = [there, gone, there, gone, there]  # the gap is counted anew
    assert [numbers for numbers, _ in run(once_more, max_gap=1)[0]] == [[0], [], [0], [], [0]]


def test_a_jump_opens_another_fragment_and_the_first_ends():
    steps, left = run([[box(0)], [box(100)], [box(100)]], max_gap=1)
    assert steps == [([0], []), ([1], []), ([1], [0])] and left == [1]


def test_two_who_cross_without_touching_the_other_s_place_in_one_frame():
    frames = [[box(x), box(100 - x, 3)] for x in range(0, 101, 2)]
    steps, _ = run(frames)
    assert all(sorted(numbers) == [0, 1] for numbers, _ in steps)
    assert [len(ended) for _, ended in steps] == [0] * len(frames)


def test_the_best_pair_comes_first_whatever_the_order_of_the_boxes():
    first, second = box(0), box(4)
    for boxes in ([first, second], [second, first]):
        ((numbers, _),) = run([[first, second], boxes], min_overlap=0.1)[0][1:]
        assert [boxes[numbers.index(number)] for number in (0, 1)] == [first, second]


def test_ties_go_to_the_older_fragment_and_the_earlier_box():
    assert run([[box(0), box(0)], [box(0)]])[0][1] == ([0], [])
    assert run([[box(0)], [box(2), box(-2)]])[0][1] == ([0, 1], [])


def test_without_overlap_nothing_is_linked_even_from_0_on():
    assert run([[box(0)], [box(50)]], min_overlap=0.0)[0][1] == ([1], [])


def test_empty_frames_and_an_empty_video():
    assert run([]) == ([], []) and run([[], []]) == ([([], []), ([], [])], [])


def slow(frames, min_overlap, max_gap):
    """Each frame's numbers: fragments as lists of (frame, box), a pair at a time."""
    fragments, answers = [], []
    for now, boxes in enumerate(frames):
        open_ones = [own for own in fragments if now - own[-1][0] - 1 <= max_gap]
        numbers = [None] * len(boxes)
        while True:
            pairs = [
                (overlap(own[-1][1], new), -fragments.index(own), -place)
                for own in open_ones if own[-1][0] < now
                for place, new in enumerate(boxes) if numbers[place] is None
            ]  # fmt: skip
            best = max(pairs, default=(0.0,))
            if best[0] < min_overlap or best[0] == 0:
                break
            numbers[-best[2]] = -best[1]
            fragments[-best[1]].append((now, boxes[-best[2]]))
        for place, new in enumerate(boxes):
            if numbers[place] is None:
                numbers[place] = len(fragments)
                fragments.append([(now, new)])
        answers.append(numbers)
    return answers, [own[-1][0] for own in fragments]


BOXES = st.lists(st.builds(box, st.integers(0, 30), st.integers(0, 10)), max_size=4)


@settings(max_examples=200, deadline=None)
@given(st.lists(BOXES, max_size=8), st.sampled_from([0.0, 0.2, 0.5]), st.integers(0, 2))
def test_as_the_slow_linker_and_every_fragment_ends_once(frames, min_overlap, max_gap):
    # every box is its own, so that the slow linker can tell fragments apart
    frames = [
        [replace(own, confidence=0.1 * n + now) for n, own in enumerate(boxes)] for now, boxes in enumerate(frames)
    ]
    steps, left = run(frames, min_overlap, max_gap)
    numbers, last = slow(frames, min_overlap, max_gap)
    assert [own for own, _ in steps] == numbers
    ended = {number: now for now, (_, some) in enumerate(steps) for number in some}
    assert sorted([*ended, *left]) == list(range(len(last)))
    assert all(now == last[number] + max_gap + 1 for number, now in ended.items())
    assert all(len(frames) - 1 <= last[number] + max_gap for number in left)
