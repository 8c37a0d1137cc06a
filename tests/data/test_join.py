from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from reid.data.samples import Samples, concatenate, join

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
    other = concatenate([query, samples("/d", [(7, 3)], prefix="g")])
    assert other.names == ("0.jpg", "1.jpg", "g0.jpg") and other.pids.tolist() == [1, 2, 7]
