import numpy as np
import pytest

from reid.sites.rendered.backdrop.occluders import HEIGHT, OCCLUDERS, WIDTH, draw_occluder, sample_occluder


@pytest.mark.parametrize("kind", list(OCCLUDERS))
def test_each_kind_is_premultiplied_and_hides_5_to_40_percent(kind: str):
    for seed in range(4):
        layer = draw_occluder(np.random.default_rng(seed), kind)
        assert layer.shape == (HEIGHT, WIDTH, 4)
        assert layer.dtype == np.uint8
        assert (layer[..., :3] <= layer[..., 3:]).all()
        assert 0.05 <= layer[..., 3].mean() / 255 <= 0.4


def test_legs_and_sides_are_hidden_rather_than_the_upper_body():
    hidden = np.mean([sample_occluder(np.random.default_rng(seed))[..., 3] for seed in range(150)], axis=0) / 255
    assert hidden[:128, 40:88].mean() < 0.06
    assert hidden[128:].mean() > 2 * hidden[:128].mean()


def test_the_same_generator_gives_the_same_thing_and_one_draw_is_taken():
    one, two = np.random.default_rng(8), np.random.default_rng(8)
    assert np.array_equal(sample_occluder(one), sample_occluder(two))
    reference = np.random.default_rng(8)
    reference.integers(2**63)
    assert one.integers(1000) == reference.integers(1000)
