from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from runs import inputs_of

from reid.config import load_config
from reid.data.images import read_image
from reid.data.samples import Samples
from reid.data.unlabelled import images_of
from reid.engine import build
from reid.errors import InputError
from reid.evaluation.divergence import domain_divergence
from reid.evaluation.moments import MOMENTS_FILE, Moments, Parts, cached_moments, moments
from reid.evaluation.subject import Subject
from reid.networks import Origin
from reid.networks.pytorch import TorchNetwork
from reid.networks.trained import preprocessing


def two_pass(network, samples, config):
    """Per identity and stage (count, mean, variance) of all its maps at once, in float64; keeps every map."""
    images = inputs_of(build.test_transform(config), [read_image(path) for path in samples.paths])
    with torch.inference_mode():
        maps = [stage.double().numpy() for stage in network.backbone.stages(images)]
    found = {}
    for pid in np.unique(samples.pids):
        own = [stage[samples.pids == pid].transpose(1, 0, 2, 3).reshape(stage.shape[1], -1) for stage in maps]
        found[int(pid)] = [(values.shape[1], values.mean(axis=1), values.var(axis=1)) for values in own]
    return found


@pytest.fixture
def setting(tiny):
    config = load_config("market_bn.yaml", [*tiny, "precision=float32", "evaluation.batch_size=5"])
    torch.manual_seed(0)
    network = build.embedder(config, num_classes=3).eval()
    return config, network, images_of(build.roots(config), "market1501", training=False)[1]


def test_moments_by_identity_are_those_of_all_maps_at_once(setting):
    config, network, samples = setting
    found, expected = (
        moments(build.extractor(config, network), network.backbone, samples, progress=False),
        two_pass(network, samples, config),
    )
    assert found.pids.tolist() == list(expected) == [0, *range(7, 13)]  # a distractor counts, junk was left out
    assert found.images.tolist() == [int((samples.pids == pid).sum()) for pid in found.pids]
    assert found.instance_norm == (True, True, False, False)
    for number, stage in enumerate(found.stages):
        for group, pid in enumerate(found.pids.tolist()):
            count, mean, variance = expected[pid][number]
            assert stage.count[group] == count
            np.testing.assert_allclose(stage.mean[group], mean, rtol=1e-4, atol=1e-5)
            np.testing.assert_allclose(stage.variance[group], variance, rtol=1e-4, atol=1e-6)
    everybody = Samples(samples.root, samples.names, np.ones_like(samples.pids), samples.camids)
    for whole, (count, mean, variance) in zip(found.whole(), two_pass(network, everybody, config)[1], strict=True):
        assert whole.count.tolist() == [count]
        np.testing.assert_allclose(whole.mean[0], mean, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(whole.variance[0], variance, rtol=1e-4, atol=1e-6)


def test_neither_batch_size_nor_order_matters(setting):
    config, network, samples = setting
    first = moments(build.extractor(config, network), network.backbone, samples, progress=False)
    order = np.random.default_rng(0).permutation(len(samples))
    shuffled = Samples(
        samples.root, tuple(samples.names[row] for row in order), samples.pids[order], samples.camids[order]
    )
    evaluation = config.evaluation.model_copy(update={"batch_size": 1})
    second = moments(
        build.extractor(config.model_copy(update={"evaluation": evaluation}), network),
        network.backbone,
        shuffled,
        progress=False,
    )
    assert first.pids.tolist() == second.pids.tolist() and first.images.tolist() == second.images.tolist()
    for a, b in zip(first.stages, second.stages, strict=True):
        np.testing.assert_array_equal(a.count, b.count)
        np.testing.assert_allclose(a.mean, b.mean, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(a.squares, b.squares, rtol=1e-3, atol=1e-4)
    assert all(stage.mean < 1e-6 for stage in domain_divergence(first, second))


@given(st.data())
def test_merged_parts_are_those_of_all_values(data):
    lengths = data.draw(st.lists(st.integers(1, 6), min_size=1, max_size=6))
    number = data.draw(st.integers(1, len(lengths)))
    groups = np.array([*range(number), *data.draw(st.lists(st.integers(0, number - 1), min_size=len(lengths) - number,
                                                           max_size=len(lengths) - number))])  # fmt: skip
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    offset = data.draw(st.sampled_from([0.0, 1.0, -1e6, 1e8]))  # naive sums of squares fail at 1e8
    values = [offset + rng.normal(size=(length, 2)) for length in lengths]
    parts = Parts(
        np.array(lengths, dtype=np.float64),
        np.stack([own.mean(axis=0) for own in values]),
        np.stack([own.var(axis=0) * len(own) for own in values]),
    )
    merged = parts.merged(groups, number)
    for group in range(number):
        own = np.concatenate([value for value, g in zip(values, groups, strict=True) if g == group])
        assert merged.count[group] == len(own)
        np.testing.assert_allclose(merged.mean[group], own.mean(axis=0), rtol=1e-14, atol=1e-12)
        np.testing.assert_allclose(merged.variance[group], own.var(axis=0), rtol=1e-6, atol=1e-12)
    once, twice = parts.merged(np.zeros_like(groups), 1), merged.merged(np.zeros(number, dtype=np.int64), 1)
    np.testing.assert_allclose(once.squares, twice.squares, rtol=1e-6, atol=1e-12)


def test_merging_by_hand():
    parts = Parts(np.array([2.0, 1.0]), np.array([[1.0], [4.0]]), np.array([[2.0], [0.0]]))  # 0, 2 and 4
    merged = parts.merged(np.array([0, 0]), 1)
    assert (merged.count[0], merged.mean[0, 0], merged.squares[0, 0], merged.variance[0, 0]) == (3, 2, 8, 8 / 3)


def test_saved_and_loaded(setting, tmp_path):
    config, network, samples = setting
    found = moments(build.extractor(config, network), network.backbone, samples, progress=False, origin="from here")
    found.save(tmp_path / "own.npz")
    loaded = Moments.load(tmp_path / "own.npz")
    assert (loaded.origin, loaded.instance_norm) == ("from here", found.instance_norm)
    assert np.array_equal(loaded.pids, found.pids) and np.array_equal(loaded.images, found.images)
    for a, b in zip(loaded.stages, found.stages, strict=True):
        assert all(np.array_equal(getattr(a, name), getattr(b, name)) for name in ("count", "mean", "squares"))


@pytest.mark.parametrize(
    "changes",
    [{"mean2": None}, {"origin": None}, {"mean2": np.zeros((1, 2))}, {"squares3": np.zeros((7, 1))},
     {"images": np.zeros(3)}, {"instance_norm": np.zeros(2)}, {"count1": np.array(1.0)}, {"mean1": np.array(1.0)}],
)  # fmt: skip
def test_files_that_hold_no_moments_are_named(setting, tmp_path, changes):
    config, network, samples = setting
    moments(build.extractor(config, network), network.backbone, samples, progress=False).save(tmp_path / "own.npz")
    with np.load(tmp_path / "own.npz") as archive:
        arrays = {**archive, **changes}
    np.savez(tmp_path / "own.npz", **{name: array for name, array in arrays.items() if array is not None})
    with pytest.raises(InputError, match=r"own.npz: holds no moments \(.*\)$"):
        Moments.load(tmp_path / "own.npz")


def test_a_network_of_no_numbers_is_named(setting):
    config, network, samples = setting
    with torch.no_grad():
        network.backbone.layer3[0].conv1.weight[0] = float("nan")
    with pytest.raises(InputError, match="here: the network's maps hold NaN"):
        moments(build.extractor(config, network), network.backbone, samples, progress=False, origin="here")


def test_kept_while_they_are_valid(setting, tiny, tmp_path, caplog):
    _config, network, samples = setting
    path = tmp_path / "targets" / "market" / MOMENTS_FILE

    def again(*overrides, samples=samples, digest="0123456789abcdef"):
        changed = load_config("market_bn.yaml", [*tiny, "precision=float32", *overrides])
        before = path.stat().st_mtime_ns if path.exists() else 0
        origin = Origin("run", 8, digest * 4, preprocessing(changed))
        tested = TorchNetwork(origin, lambda: build.extractor(changed, network))
        subject = Subject(tested, tmp_path, build.testing(changed))
        found = cached_moments(subject, "market", samples, progress=False)
        return found, path.stat().st_mtime_ns != before

    first, written = again()
    second, rewritten = again()
    assert written and not rewritten and first.origin == second.origin and "0123456789abcdef" in first.origin
    assert all(np.array_equal(a.mean, b.mean) for a, b in zip(first.stages, second.stages, strict=True))
    assert not again("evaluation.flip=true", "model.neck_feature=before")[1]  # nothing that moments depend on
    assert again(digest="another")[1]
    assert again("data.height=48")[1] and again("transforms.standardise=true")[1] and again("precision=bf16")[1]
    with np.load(path) as archive:
        arrays = {name: array for name, array in archive.items() if name != "mean3"}
    np.savez(path, **arrays)  # of the same origin, and not whole
    mended, rewritten = again("precision=bf16")
    assert rewritten and "holds no moments ('mean3" in caplog.text and "computed again" in caplog.text
    assert not again("precision=bf16")[1] and len(mended.stages) == 4
    nobody = Samples(samples.root, samples.names, np.full_like(samples.pids, -1), samples.camids)
    assert again(samples=nobody)[0].pids.tolist() == [-1]


def test_query_and_gallery_as_one_list(tmp_path, setting):
    _config, _network, samples = setting
    assert samples.names == tuple(sorted(samples.names)) and len(samples) == 12 + 37
