from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from reid.data.dataset import Draw, ImageDataset, batches, evaluation_draws, training_draws
from reid.data.transforms import evaluation_transform, training_transform
from reid.errors import InputError


@pytest.fixture
def paths(tmp_path) -> list[Path]:
    rng = np.random.default_rng(0)
    made = [tmp_path / f"{i}.png" for i in range(7)]
    for path in made:
        Image.fromarray(rng.integers(0, 256, (40, 20, 3), dtype=np.uint8)).save(path)
    return made


def test_draws():
    assert training_draws([[5, 3], [4, 9]], seed=1, epoch=2, start=1) == [[Draw(4, (1, 2, 2)), Draw(9, (1, 2, 3))]]
    assert [[d.row for d in batch] for batch in evaluation_draws(5, 2)] == [[0, 1], [2, 3], [4]]


def test_workers_do_not_change_a_batch(paths):
    images = ImageDataset(paths, training_transform(32, 16, jitter=0.3))
    draws = training_draws([[0, 1, 2], [3, 4, 5], [6, 0, 3]], seed=3, epoch=1)
    alone = list(batches(images, draws, workers=0))
    together = list(batches(images, draws, workers=2))
    rest = list(batches(images, training_draws([[0, 1, 2], [3, 4, 5], [6, 0, 3]], 3, 1, start=2), workers=1))
    for a, b in zip(alone, together, strict=True):
        assert torch.equal(a.images, b.images) and torch.equal(a.indices, b.indices)
    assert torch.equal(rest[0].images, alone[2].images)
    assert alone[0].images.shape == (3, 3, 32, 16) and alone[1].indices.tolist() == [3, 4, 5]


@pytest.mark.parametrize("workers", [0, 2])
def test_a_bad_file_ends_with_its_name_alone(paths, workers):
    paths[4].write_bytes(b"no image")
    images = ImageDataset(paths, evaluation_transform(32, 16))
    loaded = batches(images, evaluation_draws(7, 2), workers)
    assert next(loaded).indices.tolist() == [0, 1]
    assert next(loaded).indices.tolist() == [2, 3]
    with pytest.raises(InputError) as caught:
        next(loaded)
    assert str(caught.value).startswith(f"{paths[4]}: not a readable image") and "Traceback" not in str(caught.value)


class Broken:
    """A transform with a fault in its code."""

    def __init__(self, error):
        self.error = error

    def __call__(self, image, stream):
        raise self.error


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("error", [RuntimeError("a fault"), FileNotFoundError("a fault"), EOFError("a fault")])
def test_a_fault_in_the_code_is_not_taken_for_an_ended_worker(paths, workers, error):
    loaded = batches(ImageDataset(paths, Broken(error)), evaluation_draws(7, 2), workers)
    with pytest.raises(type(error), match="a fault"):
        next(loaded)
