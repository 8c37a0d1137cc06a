"""The recipes of rendered people take a step, each on its own size of image."""

from pathlib import Path

import pytest
from safetensors.torch import load_file
from trees import manifest_tree

from reid.config import load_config
from reid.engine.train import train


@pytest.mark.parametrize("name", ["resnet50_ibn_a", "resnet50_ibn_b", "bn", "ibn_a", "ibn_b"])
def test_a_recipe_of_rendered_people_takes_a_step(name: str, tmp_path: Path) -> None:
    people = manifest_tree(tmp_path)
    config = load_config(
        f"people_{name}.yaml",
        [
            f"data.source={people}",
            *("model.weights=none", "data.workers=0", "targets=[]", f"output={tmp_path}", "run=run"),
            *("optim.steps=1", "sampler.identities=2", "sampler.images=2", "device=cpu", "precision=float32"),
        ],
    )
    assert (config.data.height, config.data.width) == ((256, 128) if "50" in name else (128, 64))
    folder = train(config)
    tensors = load_file(folder / "checkpoint.safetensors")
    assert all(bool(tensor.isfinite().all()) for tensor in tensors.values() if tensor.is_floating_point())
