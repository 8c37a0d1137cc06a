from __future__ import annotations

import re
from dataclasses import fields

import numpy as np
import pytest

from reid.data.card import load_card
from reid.errors import InputError
from reid.sites.rendered.settings import RenderedSettings
from reid.sites.schedule import cameras_of, plan


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"site": "moon"}, "site 'moon' is not one of .*'campus'"),
        ({"style": 1.6}, "style is 1.6, not in 0.0..1.5"),
        ({"degradation": -0.1}, "degradation is -0.1"),
        ({"cameras": 1}, "cameras is 1, not in 2..200"),
        ({"cameras": 4, "passes": 5}, "passes is 5, more than cameras, which is 4"),
        ({"passes": 2.5}, "passes is 2.5, not a whole number"),
        ({"height": 130}, "height is 130, not a multiple of 4"),
        ({"height": 1000}, "height is 1000, not in 32..384"),
        ({"train_identities": 99_000, "test_identities": 1000}, "are 100000 together, not in 1..99999"),
        ({"train_identities": 0, "test_identities": 0}, "are 0 together"),
        ({"splits": ("val",)}, "splits"),
    ],
)
def test_what_is_out_of_range_is_named(given, message):
    with pytest.raises(InputError, match=message):
        RenderedSettings(**{"site": "mall", **given})


def test_each_identity_passes_as_many_cameras_as_asked():
    settings = RenderedSettings("people", cameras=30, passes=4, train_identities=50, test_identities=0)
    cameras = [cameras_of(settings, pid) for pid in range(1, 51)]
    assert all(len(set(passed)) == 4 for passed in cameras)
    assert len(np.unique(cameras)) > 25
    assert len(plan(settings)) == 50 * 4 * settings.train_shots


def test_names_of_many_people_are_read_as_they_were_meant():
    settings = RenderedSettings(
        "people", cameras=200, passes=2, train_identities=9_998, test_identities=3, test_shots=2
    )
    images = [image for image in plan(settings) if image.pid > 9_996]
    pattern = re.compile(load_card("people").pattern)
    read = [pattern.search(image.name.rpartition("/")[2]) for image in images]
    assert [(int(found["pid"]), int(found["cam"])) for found in read] == [(image.pid, image.camera) for image in images]
    assert {image.pid for image in images} == {9_997, 9_998, 9_999, 10_000, 10_001}
    assert any(image.camera > 99 for image in images)


def test_every_range_is_of_a_setting():
    assert set(RenderedSettings.ranges) <= {field.name for field in fields(RenderedSettings)}
