"""Tables of a data set: which queries have a possible match."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from reid.data.samples import Samples, concatenate, join, matchless


@st.composite
def tables(draw: st.DrawFn) -> Samples:
    pairs = draw(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 3)), min_size=1, max_size=12))
    names = tuple(f"{draw(st.integers(0, 5))}_{place}.jpg" for place in range(len(pairs)))
    pids, camids = np.array(pairs, dtype=np.int64).T
    return Samples(Path(), names, pids, camids)


@settings(max_examples=60, deadline=None)
@given(tables(), tables(), st.booleans())
def test_matchless_against_plain_loops(query: Samples, gallery: Samples, cross_camera_only: bool) -> None:
    expected = []
    for pid, cam, name in zip(query.pids, query.camids, query.names, strict=True):
        rest = zip(gallery.pids, gallery.camids, gallery.names, strict=True)
        expected.append(not any(p == pid and (c != cam if cross_camera_only else n != name) for p, c, n in rest))
    assert matchless(query, gallery, cross_camera_only).tolist() == expected


numbers = st.lists(st.tuples(st.integers(1, 5), st.integers(1, 3)), min_size=1, max_size=8)


def samples(root: str, rows: list[tuple[int, int]], prefix: str = "") -> Samples:
    pids, camids = np.array(rows, dtype=np.int64).T
    return Samples(Path(root), tuple(f"{prefix}{place}.jpg" for place in range(len(rows))), pids, camids)


@given(st.lists(numbers, min_size=2, max_size=3))
def test_people_and_cameras_of_two_data_sets_are_never_one(parts: list[list[tuple[int, int]]]) -> None:
    own = [samples(f"/data/{place}", rows) for place, rows in enumerate(parts)]
    joined = join(own)
    assert joined.paths == tuple(path for part in own for path in part.paths)
    for kind in ("pids", "camids"):
        keys = [(place, value) for place, part in enumerate(own) for value in getattr(part, kind).tolist()]
        pairs = set(zip(keys, getattr(joined, kind).tolist(), strict=True))
        assert len(pairs) == len(set(keys)) == len({number for _, number in pairs})  # one to one
    assert joined.pids.min() == joined.camids.min() == 1


def test_an_image_of_two_splits_stands_there_once() -> None:
    query, gallery = samples("/d", [(1, 1), (2, 1)]), samples("/d", [(1, 1), (2, 1), (3, 2)])
    both = concatenate([query, gallery])
    assert both.names == gallery.names and both.pids.tolist() == [1, 2, 3] and both.camids.tolist() == [1, 1, 2]
    assert both.title == "d" and concatenate([replace(query, caption="d (query)"), gallery]).title == "d (query) + d"
    other = concatenate([query, samples("/d", [(7, 3)], prefix="g")])
    assert other.names == ("0.jpg", "1.jpg", "g0.jpg") and other.pids.tolist() == [1, 2, 7]
