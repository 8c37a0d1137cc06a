import numpy as np
import pytest

from reid.sites.rendered.backdrop.noise import masonry, octaves


def test_octaves_have_mean_zero_deviation_one_and_come_again():
    one, two = (octaves(np.random.default_rng(3), 60, 90, 40) for _ in range(2))
    assert one.shape == (60, 90)
    assert one.dtype == np.float32
    assert np.array_equal(one, two)
    assert one.mean() == pytest.approx(0, abs=1e-3)
    assert one.std() == pytest.approx(1, abs=1e-3)


def test_a_higher_persistence_is_rougher():
    smooth, rough = (octaves(np.random.default_rng(3), 128, 128, 64, 2, share) for share in (0.3, 1.0))
    assert np.abs(np.diff(smooth)).mean() < 0.6 * np.abs(np.diff(rough)).mean()


def test_masonry_gives_a_brick_one_tone_and_lies_in_courses():
    t, s = np.mgrid[0:60, 0:80].astype(np.float32) / 100 + np.float32(0.005)  # centimetres
    tone, joint = masonry(np.random.default_rng(0), s, t, (0.2, 0.1), 0.02, 0.5)
    for row, column in ((5, 3), (15, 33), (25, 70), (55, 12)):
        top, left = row // 10 * 10, ((column + 10 * (row // 10)) // 20) * 20 - 10 * (row // 10)
        unit = tone[top : top + 10, max(left, 0) : left + 20]
        assert np.ptp(unit) == 0
    assert joint[10, 5] == pytest.approx(1, abs=1e-3)
    assert joint[5, 10] == 0  # the middle of a brick
    assert 0.15 < joint.mean() < 0.4  # 1 - 0.18 / 0.2 * 0.08 / 0.1 = 0.28


def test_masonry_fades_where_a_pixel_is_wider_than_a_unit():
    t, s = np.mgrid[0:20, 0:20].astype(np.float32)
    tone, joint = masonry(np.random.default_rng(0), s, t, (0.2, 0.1), 0.02)
    assert not tone.any()
    assert not joint.any()
