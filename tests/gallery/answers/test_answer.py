"""Where and when somebody was seen: the images of an answer, by camera and time."""

from hypothesis import given, settings
from hypothesis import strategies as st

from reid.gallery.answers.answer import APART, Answer, Hit
from reid.gallery.entries import Entry


def answer_of(entries):
    return Answer(tuple(Hit(rank, entry, 0.1) for rank, entry in enumerate(entries, 1)), None, True, ())


def shown(answer):
    return [(each.camera, each.time, each.until, [hit.rank for hit in each.hits]) for each in answer.sightings()]


def test_a_camera_s_images_without_a_pause_are_a_sighting():
    times = [("a", 100, 130), ("b", 95, None), ("a", 250, None), ("a", 190, None), ("a", 191, None), ("a", 40, 45)]
    answer = answer_of([Entry("x", camera, None, time, until) for camera, time, until in times])
    assert APART == 60 and shown(answer) == [("a", 40, 250, [1, 3, 4, 5, 6]), ("b", 95, 95, [2])]
    apart = answer_of([Entry("x", "a", None, time) for time in (161.0, 100.0, 221.0)])
    assert shown(apart) == [("a", 161, 221, [1, 3]), ("a", 100, 100, [2])]


def test_a_long_fragment_holds_later_ones_together():
    times = [(0.0, 500.0), (10.0, 20.0), (550.0, None), (700.0, None)]
    assert shown(answer_of([Entry("x", "a", None, *each) for each in times])) == [
        ("a", 0, 550, [1, 2, 3]), ("a", 700, 700, [4]),
    ]  # fmt: skip


def test_images_of_unknown_time_are_one_sighting_a_camera_and_a_person_with_a_name():
    entries = [("a", None), ("a", "P1"), ("b", "P1"), ("a", "P1"), ("a", None)]
    answer = answer_of([Entry("x", camera, person) for camera, person in entries])
    assert shown(answer) == [
        ("a", None, None, [1]), ("a", None, None, [2, 4]), ("b", None, None, [3]), ("a", None, None, [5]),
    ]  # fmt: skip
    assert answer_of([]).sightings() == ()


MOMENTS = st.none() | st.integers(0, 600)


@settings(max_examples=200)
@given(
    st.lists(st.tuples(st.sampled_from("ab"), MOMENTS, st.integers(0, 90), st.sampled_from([None, "P"])), max_size=9)
)
def test_sightings_are_what_a_slow_search_for_neighbours_finds(images):
    """Two images belong together where a chain of others leads from one to the other, each within a minute."""
    answer = answer_of(
        [
            Entry("x", camera, person, time, None if time is None or not length else time + length)
            for camera, time, length, person in images
        ]
    )

    def near(one, other):
        if one.camera != other.camera or (one.time is None) != (other.time is None):
            return False
        if one.time is None:
            return one.identity == other.identity is not None
        ends = [each.time if each.until is None else each.until for each in (one, other)]
        return one.time - ends[1] <= APART and other.time - ends[0] <= APART

    groups = [{hit.rank} for hit in answer.hits]
    entries = {hit.rank: hit.entry for hit in answer.hits}
    while True:
        pairs = [
            (a, b)
            for a in groups
            for b in groups
            if a is not b and any(near(entries[x], entries[y]) for x in a for y in b)
        ]
        if not pairs:
            break
        a, b = pairs[0]
        groups = [group for group in groups if group is not a and group is not b] + [a | b]
    assert [[hit.rank for hit in each.hits] for each in answer.sightings()] == sorted(sorted(group) for group in groups)
    for each in answer.sightings():
        times = [hit.entry.time for hit in each.hits]
        ends = [hit.entry.time if hit.entry.until is None else hit.entry.until for hit in each.hits]
        assert (each.time, each.until) == ((None, None) if None in times else (min(times), max(ends)))
