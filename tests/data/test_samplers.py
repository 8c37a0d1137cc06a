import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reid.data.samplers import SAMPLERS, PKSampler, RandomSampler, share_with_pairs
from reid.errors import InputError


@given(
    counts=st.lists(st.integers(1, 30), min_size=2, max_size=12),
    p=st.integers(1, 5),
    k=st.integers(1, 5),
    epoch=st.integers(0, 5),
)
def test_pk_batches(counts, p, k, epoch):
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(len(counts)), counts))
    p = min(p, len(counts))
    sampler = PKSampler(labels, p, k, seed=1)
    batches = sampler.epoch(epoch)
    assert len(batches) == len(sampler) == -(-sum(max(1, n // k) for n in counts) // p)
    for batch in batches:
        groups = labels[batch].reshape(p, k)
        assert (groups == groups[:, :1]).all() and len(set(groups[:, 0])) == p
        for group, label in zip(np.reshape(batch, (p, k)), groups[:, 0], strict=True):
            assert len(set(group)) == min(k, counts[label])  # repeats only where there are too few
    assert set(labels[np.concatenate(batches)]) == set(labels)


def test_order_is_a_function_of_seed_and_epoch():
    labels = np.repeat(np.arange(6), 5)
    sampler = PKSampler(labels, 3, 2, seed=4)
    np.random.seed(0)  # noqa: NPY002  # the global generator must not matter
    first = [sampler.epoch(e) for e in range(3)]
    np.random.seed(9)  # noqa: NPY002
    assert PKSampler(labels, 3, 2, seed=4).epoch(2) == first[2]  # no epoch before it was drawn
    assert first[0] != first[1] and PKSampler(labels, 3, 2, seed=5).epoch(0) != first[0]


def test_over_epochs_every_image_is_used():
    labels = np.repeat(np.arange(4), 7)
    sampler = PKSampler(labels, 2, 4, seed=0)
    assert {index for epoch in range(20) for batch in sampler.epoch(epoch) for index in batch} == set(range(28))


def test_random_batches():
    sampler = RandomSampler(np.repeat(np.arange(5), 5), 2, 3, seed=0)
    batches = sampler.epoch(0)
    assert [len(batch) for batch in batches] == [6] * 4 == [6] * len(sampler)
    assert len(set(np.concatenate(batches))) == 24
    assert sampler.epoch(1) != batches == sampler.epoch(0)


@pytest.mark.parametrize("name", SAMPLERS)
def test_too_few_to_fill_a_batch(name):
    with pytest.raises(InputError, match="to train on"):
        SAMPLERS[name](np.array([0, 0, 1]), 3, 2, 0)


@given(st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=6), min_size=1, max_size=4), st.integers(1, 10))
def test_share_with_pairs(batches, people):
    labels = np.arange(10) % people
    found = [
        any(labels[j] == labels[i] and j != i for j in batch) and any(labels[j] != labels[i] for j in batch)
        for batch in batches
        for i in batch
    ]
    assert share_with_pairs(batches, labels) == sum(found) / len(found)


def test_share_with_pairs_of_each_sampler():
    several, singles = np.repeat(np.arange(8), 5), np.arange(8)
    assert share_with_pairs(PKSampler(several, 4, 2, seed=0).epoch(0), several) == 1
    assert share_with_pairs(PKSampler(several, 4, 1, seed=0).epoch(0), several) == 0
    assert share_with_pairs(PKSampler(several, 1, 4, seed=0).epoch(0), several) == 0
    assert share_with_pairs(PKSampler(singles, 4, 2, seed=0).epoch(0), singles) == 0
    assert share_with_pairs(RandomSampler(singles, 4, 2, seed=0).epoch(0), singles) == 0
    # of 100 people with 10 images each: in a batch of 64, 1 - C(990, 63) / C(999, 63) have another of theirs, or 0.445
    many = np.repeat(np.arange(100), 10)
    batches = [batch for epoch in range(20) for batch in RandomSampler(many, 16, 4, seed=epoch).epoch(epoch)]
    expected = 1 - math.comb(990, 63) / math.comb(999, 63)
    assert share_with_pairs(batches, many) == pytest.approx(expected, abs=0.01) and expected == pytest.approx(
        0.445, abs=1e-3
    )
