"""Tables of a data set: which queries have a possible match."""

from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from reid.data.samples import Samples, matchless


@st.composite
def tables(draw: st.DrawFn) -> Samples:
    pairs = draw(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 3)), min_size=1, max_size=12))
    names = tuple(f"{draw(st.integers(0, 5))}_{place}.jpg" for place in range(len(pairs)))
    pids, camids = np.array(pairs, dtype=np.int64).T
    return Samples(Path(), names, pids, camids)


@settings(max_examples=60, deadline=None)
@given(tables(), tables())
def test_matchless_against_plain_loops(query: Samples, gallery: Samples) -> None:
    expected = []
    for pid, cam in zip(query.pids, query.camids, strict=True):
        rest = zip(gallery.pids, gallery.camids, strict=True)
        expected.append(not any(p == pid and c != cam for p, c in rest))
    assert matchless(query, gallery).tolist() == expected
