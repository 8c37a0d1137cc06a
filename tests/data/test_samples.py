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
@given(tables(), tables(), st.booleans())
def test_matchless_against_plain_loops(query: Samples, gallery: Samples, cross_camera_only: bool) -> None:
    expected = []
    for pid, cam, name in zip(query.pids, query.camids, query.names, strict=True):
        rest = zip(gallery.pids, gallery.camids, gallery.names, strict=True)
        expected.append(not any(p == pid and (c != cam if cross_camera_only else n != name) for p, c, n in rest))
    assert matchless(query, gallery, cross_camera_only).tolist() == expected
