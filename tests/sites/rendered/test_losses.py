from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest

from reid.sites.rendered.losses import Losses, lose, scale_losses

ALL = Losses(0.4, 1.2, 2.0, 1.0, 0.8, 1.2, 0.02, 0.01, 50)


def _image(height=128):
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:height, : height // 2] // 8
    checks = np.where((rows + columns) % 2, 0.7, 0.3)[..., None] + rng.uniform(0, 0.1, 3)
    return checks.astype(np.float32)


def test_without_losses_an_image_stays_as_it_is():
    np.testing.assert_allclose(lose(_image(), Losses(), np.random.default_rng(0)), np.round(_image() * 255), atol=1)


@pytest.mark.parametrize("name", [field.name for field in fields(Losses) if field.name not in ("halo", "jpeg_quality")])
def test_each_loss_changes_an_image_at_any_height(name):
    for height in (64, 128):
        lost = lose(_image(height), replace(Losses(), **{name: getattr(ALL, name)}), np.random.default_rng(0))
        assert lost.shape == (height, height // 2, 3) and lost.dtype == np.uint8
        assert np.abs(lost - _image(height) * 255).max() > 2


def test_sharpening_overshoots_and_blur_does_not():
    sharp = lose(_image(), Losses(sharpen=1.0), np.random.default_rng(0))
    soft = lose(_image(), Losses(blur=1.0), np.random.default_rng(0))
    assert sharp.max() > 255 * _image().max() + 10 and sharp.min() < 255 * _image().min() - 10
    assert soft.max() <= np.ceil(255 * _image().max()) and soft.std() < sharp.std()


def test_draws_do_not_depend_on_the_losses():
    states = []
    for losses in (Losses(), ALL):
        rng = np.random.default_rng(1)
        lose(_image(), losses, rng)
        states.append(rng.bit_generator.state)
    assert states[0] == states[1]


def test_strengths_move_from_none_to_all():
    assert scale_losses(ALL, 0) == Losses()
    assert scale_losses(ALL, 1) == ALL
    assert scale_losses(ALL, 1.5).blur == pytest.approx(1.8)
    assert scale_losses(replace(ALL, shrink=0.7, jpeg_quality=10), 1.5).shrink == 0.8
    assert scale_losses(replace(ALL, jpeg_quality=10), 1.5).jpeg_quality == 5
