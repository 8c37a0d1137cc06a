from __future__ import annotations

import pytest
from small_gallery import Colours, small_gallery

import reid.api  # noqa: F401  # now: it would keep what stands in for the networks
from reid.cli import main


@pytest.fixture
def colours(monkeypatch):
    """A network of seconds in the place of all others."""
    monkeypatch.setattr("reid.networks.load", lambda *_: Colours())


@pytest.fixture
def search(tmp_path, colours):
    """``reid search`` on the small gallery, calibrated."""
    small_gallery(tmp_path, calibrated=True).close()

    def run(action, *arguments):
        return main(["search", action, "--store", str(tmp_path / "gallery"), *map(str, arguments)])

    return run


@pytest.fixture
def gallery(tmp_path, search):
    """The same, opened beside the commands."""
    with small_gallery(tmp_path) as gallery:
        yield gallery
