import pytest
from fakes import ORIGIN, paint

from reid.gallery.store import Gallery


@pytest.fixture
def gallery(tmp_path):
    with Gallery.create(tmp_path / "gallery", ORIGIN) as gallery:
        yield gallery
        assert gallery.verify() == []


@pytest.fixture
def folder(tmp_path):
    for name, colour in {"b.png": "red", "a.png": "blue", "below/c.png": "green"}.items():
        paint(tmp_path / "crops" / name, colour)
    return tmp_path / "crops"
