import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from references import slow_pk_epoch

from reid.data.samplers import (
    SAMPLERS,
    BalancedSampler,
    PKSampler,
    RandomSampler,
    check_batches,
    note_on_identities,
    note_on_pairs,
    parts,
    share_with_pairs,
)
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


@given(
    counts=st.lists(st.integers(1, 12), min_size=1, max_size=10),
    longest=st.integers(1, 60),
    p=st.integers(1, 6),
    k=st.integers(1, 4),
    seed=st.integers(0, 3),
    epoch=st.integers(0, 3),
)
def test_pk_batches_equal_those_of_a_walk_through_the_queue(counts, longest, p, k, seed, epoch):
    """Also where one has far more images than the others, so that most batches are filled up."""
    counts = [*counts, longest]
    labels = 5 * np.random.default_rng(seed).permutation(np.repeat(np.arange(len(counts)), counts)) + 2
    p = min(p, len(counts))
    assert PKSampler(labels, p, k, seed).epoch(epoch) == slow_pk_epoch(labels, p, k, seed, epoch)


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


@st.composite
def sources(draw):
    """Labels and domains of several sources, shuffled, and P that fits them."""
    counts = draw(st.lists(st.lists(st.integers(1, 9), min_size=3, max_size=8), min_size=2, max_size=4))
    people = np.repeat(np.arange(sum(map(len, counts))), np.concatenate(counts))
    domains = np.repeat(np.arange(len(counts)), [sum(images) for images in counts])
    order = np.random.default_rng(draw(st.integers(0, 9))).permutation(len(people))
    return people[order], domains[order], len(counts) * draw(st.integers(1, 3))


@given(sources(), st.integers(1, 4), st.integers(0, 4))
def test_balanced_batches(drawn, k, epoch):
    labels, domains, p = drawn
    count = len(np.unique(domains))
    each = [PKSampler(labels[domains == domain], p // count, k, seed=0) for domain in range(count)]
    sampler = BalancedSampler(labels, p, k, 2, domains)
    batches = sampler.epoch(epoch)
    assert len(batches) == len(sampler) == max(map(len, each))
    for batch in batches:
        groups = labels[batch].reshape(p, k)
        assert (groups == groups[:, :1]).all() and len(set(groups[:, 0])) == p
        assert domains[batch].reshape(p, k)[:, 0].tolist() == [*range(count)] * (p // count)  # in turn
    largest = domains == max(range(count), key=lambda domain: len(each[domain]))
    assert set(labels[largest]) <= set(labels[np.concatenate(batches)])
    assert batches == BalancedSampler(labels, p, k, 2, domains).epoch(epoch)  # no epoch before it was drawn


def test_smaller_sources_begin_anew_where_they_end():
    """Whatever epoch they are in, the batches of each source are those of its own epochs, one after the other."""
    labels, domains = np.repeat(np.arange(14), 4), np.repeat([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1], 4)
    sampler = BalancedSampler(labels, 4, 4, 0, domains)
    assert len(sampler) == 5
    small = [[i for i in batch if domains[i] == 1] for epoch in range(2) for batch in sampler.epoch(epoch)]
    for start in range(0, 10, 2):  # 4 people, 2 a batch: an epoch of its own has 2 batches
        assert set(labels[small[start] + small[start + 1]]) == {10, 11, 12, 13}
    assert len({tuple(batch) for batch in small}) > 5
    assert sampler.epoch(0) != sampler.epoch(1) and sampler.epoch(0) != BalancedSampler(labels, 4, 4, 1, domains).epoch(
        0
    )


def test_sources_of_like_sizes_are_not_drawn_alike():
    labels, domains = np.repeat(np.arange(40), 2), np.repeat([0, 1], 40)
    batches = np.array(BalancedSampler(labels, 4, 2, 0, domains).epoch(0)).reshape(-1, 2, 2, 2)
    assert not np.array_equal(labels[batches[:, :, 0]], labels[batches[:, :, 1]] - 20)


@pytest.mark.parametrize(
    ("domains", "p", "message"),
    [
        ([0] * 8, 4, "name: balanced: needs several sources"),
        ([0] * 4 + [1] * 4, 3, "identities: 3: balanced needs a multiple of 2"),
        ([0] * 6 + [1] * 2, 4, r"source 2 of 2: identities: 2 a batch, but only 1 to train on"),
    ],
)
def test_what_cannot_be_balanced(domains, p, message):
    with pytest.raises(InputError, match=message):
        BalancedSampler(np.repeat(np.arange(4), 2), p, 2, 0, np.array(domains))


@pytest.mark.parametrize("name", ["pk", "random"])
def test_too_few_to_fill_a_batch(name):
    with pytest.raises(InputError, match="to train on"):
        SAMPLERS[name](np.array([0, 0, 1]), 3, 2, 0)


@given(st.integers(1, 5), st.integers(1, 4), st.integers(1, 3))
def test_parts_are_of_whole_identities_in_order(count, each, k):
    labels = np.repeat(np.arange(2 * count * each), k)
    (batch, *_) = PKSampler(labels, count * each, k, seed=0).epoch(0)
    cut = parts(batch, count)
    assert [index for part in cut for index in part] == batch and len(cut) == count
    assert all(len(part) == each * k and len(set(labels[part])) == each for part in cut)


def test_parts_are_equal():
    assert parts("abcdef", 3) == ["ab", "cd", "ef"]
    with pytest.raises(ValueError, match="6 images do not make 4 equal parts"):
        parts("abcdef", 4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("kp", 4, 2, 1, 1), "name: 'kp' is not one of pk, balanced, random"),
        (("balanced", 4, 2, 1, 1), "name: balanced: needs several sources"),
        (("balanced", 4, 2, 3, 1), "identities: 4: balanced needs a multiple of 3"),
        (("pk", 6, 2, 1, 4), "identities: a batch of 6 identities does not make 4 equal parts"),
        (("balanced", 6, 2, 2, 4), "identities: a batch of 6 identities does not make 4 equal parts"),
        (("random", 3, 3, 1, 2), "identities: a batch of 9 images does not make 2 equal parts"),
    ],
)
def test_batches_that_cannot_be(arguments, message):
    with pytest.raises(InputError, match=message):
        check_batches(*arguments)


@pytest.mark.parametrize("arguments", [("pk", 6, 2, 2, 3), ("balanced", 6, 2, 3, 2), ("random", 3, 2, 1, 6)])
def test_batches_that_can(arguments):
    check_batches(*arguments)


def test_few_identities_in_a_part_are_said():
    said = note_on_identities(16, 4, ["triplet"])
    assert (
        "in" in said and "16 identities" in said and "4 parts" in said and "among 4 identities (loss triplet)" in said
    )
    assert note_on_identities(32, 4, ["triplet"]) == "" == note_on_identities(4, 1, ["triplet"])


def test_pairs_are_counted_within_a_part():
    labels = np.repeat(np.arange(4), 2)
    batches = [[0, 2, 1, 3], [0, 1, 2, 3]]  # whole they hold pairs; the first's halves do not, the second's one person
    assert note_on_pairs(batches, 1, labels, "random", ["triplet"]) == ""
    assert note_on_pairs(batches, 2, labels, "random", ["triplet"]).startswith(
        "sampler.name=random: 0.0% of the images"
    )


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
