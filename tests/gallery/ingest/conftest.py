import pytest
from fakes import new_gallery, paint


@pytest.fixture
def gallery(tmp_path):
    with new_gallery(tmp_path / "gallery") as gallery:
        yield gallery


@pytest.fixture
def folder(tmp_path):
    for name, colour in {"b.png": "red", "a.png": "blue", "below/c.png": "green"}.items():
        paint(tmp_path / "crops" / name, colour)
    return tmp_path / "crops"
