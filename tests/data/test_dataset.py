import errno
import gc
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from reid.data import dataset
from reid.data.dataset import Draw, ImageCache, ImageDataset, batches, evaluation_draws, training_draws
from reid.data.images import read_image
from reid.data.transforms import Resize, evaluation_transform, training_transform
from reid.errors import InputError

HUGE = 10**12


@pytest.fixture
def paths(tmp_path) -> list[Path]:
    rng = np.random.default_rng(0)
    made = [tmp_path / f"{i}.png" for i in range(7)]
    for path in made:
        Image.fromarray(rng.integers(0, 256, (40, 20, 3), dtype=np.uint8)).save(path)
    return made


def augmented(paths, cache=None) -> ImageDataset:
    transform = training_transform(32, 16, jitter=0.3)
    return ImageDataset(paths, transform.fit, transform.augment, cache)


def same(some, others) -> bool:
    pairs = list(zip(some, others, strict=True))
    return all(torch.equal(a.images, b.images) and torch.equal(a.indices, b.indices) for a, b in pairs)


def test_draws():
    assert training_draws([[5, 3], [4, 9]], seed=1, epoch=2, start=1) == [[Draw(4, (1, 2, 2)), Draw(9, (1, 2, 3))]]
    assert [[d.row for d in batch] for batch in evaluation_draws(5, 2)] == [[0, 1], [2, 3], [4]]


def test_a_batch_by_hand(paths):
    transform = training_transform(32, 16)
    draws = training_draws([[5, 3, 4]], seed=3, epoch=1)
    [batch] = batches(ImageDataset(paths, transform.fit, transform.augment), draws, workers=0)
    assert batch.images.shape == (3, 3, 32, 16) and batch.images.dtype == torch.uint8
    assert batch.images.is_contiguous(memory_format=torch.channels_last) and batch.indices.tolist() == [5, 3, 4]
    for image, draw in zip(batch.images, draws[0], strict=True):
        expected = transform.augment(transform.fit(read_image(paths[draw.row])), draw.stream)
        np.testing.assert_array_equal(image.permute(1, 2, 0).numpy(), expected)


def test_workers_do_not_change_a_batch(paths):
    """More batches than places in which they lie, kept while others are loaded; the last are shorter."""
    images = augmented(paths)
    draws = training_draws([[0, 1, 2], [3, 4, 5], [6, 0, 3], [1, 1, 1]] * 4, seed=3, epoch=1)
    draws += evaluation_draws(7, 2)
    alone = list(batches(images, draws, workers=0))
    assert [len(batch.indices) for batch in alone] == [3] * 16 + [2, 2, 2, 1]
    together = list(batches(images, draws, workers=2))
    assert same(alone, together) and together[0].images.is_contiguous(memory_format=torch.channels_last)
    rest = list(batches(images, training_draws([[0, 1, 2], [3, 4, 5], [6, 0, 3], [1, 1, 1]], 3, 1, start=2), workers=0))
    assert torch.equal(rest[0].images, alone[2].images)


def test_no_draws_no_batch(paths):
    assert list(batches(augmented(paths), [], 2)) == list(batches(augmented(paths), [], 0)) == []


def test_a_batch_longer_than_the_first_is_a_fault(paths):
    with pytest.raises(ValueError, match="longer"):
        list(batches(augmented(paths), [[Draw(0, (1,))], [Draw(0, (1,)), Draw(1, (1,))]], 1))


def test_what_a_loader_takes_is_none_of_dev_shm_and_given_back(paths):
    """Of that containers have 64 MB, and a worker that finds none left is ended by a bus error."""

    def taken() -> tuple[int, set[Path]]:
        gc.collect()
        shared = Path("/dev/shm")
        return len(list(Path("/proc/self/fd").iterdir())), set(shared.glob("torch_*")) if shared.is_dir() else set()

    list(batches(augmented(paths), evaluation_draws(7, 2), 1))
    handles, files = taken()
    loaded = batches(augmented(paths, ImageCache(7, 32, 16, HUGE)), evaluation_draws(7, 2) * 5, 2)
    kept = [next(loaded), next(loaded)]
    assert taken()[1] <= files
    assert len(kept + list(loaded)) == 20
    del loaded
    assert taken()[0] <= handles


@pytest.mark.parametrize("workers", [0, 2])
def test_a_bad_file_ends_with_its_name_alone(paths, workers):
    paths[4].write_bytes(b"no image")
    images = ImageDataset(paths, evaluation_transform(32, 16).fit)
    loaded = batches(images, evaluation_draws(7, 2), workers)
    assert next(loaded).indices.tolist() == [0, 1]
    assert next(loaded).indices.tolist() == [2, 3]
    with pytest.raises(InputError) as caught:
        next(loaded)
    assert str(caught.value).startswith(f"{paths[4]}: not a readable image") and "Traceback" not in str(caught.value)


class Broken(Resize):
    """A fault in the code."""

    def __call__(self, image):
        raise self.interpolation


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("error", [RuntimeError("a fault"), FileNotFoundError("a fault"), EOFError("a fault")])
def test_a_fault_in_the_code_is_not_taken_for_an_ended_worker(paths, workers, error):
    loaded = batches(ImageDataset(paths, Broken(32, 16, error)), evaluation_draws(7, 2), workers)
    with pytest.raises(type(error), match="a fault"):
        next(loaded)


class Counted(ImageDataset):
    """Says how often each file was read, in this process."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.read = Counter()

    def _read(self, row):
        self.read[row] += 1
        return super()._read(row)


@pytest.mark.parametrize("kept", [1, 4, 7])
def test_kept_images_change_no_batch_and_are_read_once(paths, kept):
    size = 32 * 16 * 3
    draws = training_draws([[0, 1, 2], [3, 4, 5], [6, 0, 3]] * 3, seed=3, epoch=1)
    alone = list(batches(augmented(paths), draws, workers=0))
    transform = training_transform(32, 16, jitter=0.3)
    cache = ImageCache(7, 32, 16, kept * size + size - 1)
    images = Counted(paths, transform.fit, transform.augment, cache)
    assert same(alone, batches(images, draws, workers=0))
    assert all(images.read[row] == (1 if row < kept else 3 * (2 if row in (0, 3) else 1)) for row in range(7))
    assert str(cache) == f"{kept} of 7 images are kept in memory, 0.00 GB"


def test_workers_share_what_one_has_read(paths):
    """What is kept stays there when the files are gone."""
    draws = training_draws([[0, 1, 2], [3, 4, 5], [6, 0, 3]], seed=3, epoch=1)
    alone = list(batches(augmented(paths), draws, workers=0))
    cache = ImageCache(7, 32, 16, HUGE)
    assert same(alone, batches(augmented(paths, cache), draws, workers=2))
    for path in paths:
        path.unlink()
    assert same(alone, batches(augmented(paths, cache), draws, workers=2))
    assert same(alone, batches(augmented(paths, cache), draws, workers=0))


def test_a_file_that_cannot_be_read_is_not_kept(paths):
    whole = paths[0].read_bytes()
    paths[0].write_bytes(whole[:-40])
    images = augmented(paths, ImageCache(7, 32, 16, HUGE))
    with pytest.raises(InputError, match=r"0\.png: not a readable image"):
        list(batches(images, evaluation_draws(1, 1), 0))
    paths[0].write_bytes(whole)
    assert same(batches(images, evaluation_draws(1, 1), 0), batches(augmented(paths), evaluation_draws(1, 1), 0))


def test_a_budget_without_the_memory_is_refused(monkeypatch):
    with pytest.raises(InputError, match=r"data\.cache_gb: 1e-06: an image of 32 x 16 takes 1\.536e-06 GB"):
        ImageCache(7, 32, 16, 1000)
    ImageCache(7, 256, 128, HUGE)  # a budget is no demand: so many images take 688 kB
    with pytest.raises(InputError, match=r"data\.cache_gb: 1e\+06: .* images take 983\.04 GB, .*; choose less"):
        ImageCache(10_000_000, 256, 128, 10**15)
    monkeypatch.setattr(dataset, "_free_memory", lambda: 98_303)
    with pytest.raises(InputError, match=r"data\.cache_gb: 4: 1 images take 0\.00 GB"):
        ImageCache(1, 256, 128, 4 * 10**9)
    monkeypatch.setattr(dataset, "_free_memory", lambda: 98_304)
    ImageCache(1, 256, 128, 4 * 10**9)


def test_memory_of_several_processes_is_asked_for_together(monkeypatch):
    monkeypatch.setattr(dataset, "_free_memory", lambda: 3 * 98_304)
    ImageCache(1, 256, 128, HUGE, processes=3)
    with pytest.raises(InputError, match=r"1 images take 0\.00 GB in each of 4 processes, and this machine has"):
        ImageCache(1, 256, 128, HUGE, processes=4)


KB = 1024


@pytest.mark.parametrize(
    ("belongs", "groups", "left"),
    [
        ("0::/\n", {}, 900 * KB),
        ("0::/\n", {".": ("max", 5)}, 900 * KB),
        ("0::/\n", {".": (500, 100)}, 430),  # a container with a name space of its own
        ("0::/docker/1\n", {".": (500, 100)}, 430),  # one without
        ("0::/slurm/job_7/step_0\n", {"slurm/job_7": (500, 100), "slurm/job_7/step_0": ("max", 90)}, 430),
        ("0::/slurm/job_7\n", {"slurm": (300, 200), "slurm/job_7": (500, 100)}, 130),
        ("0::/slurm/job_7\n", {"slurm/job_7": (500, 600)}, 0),
        ("0::/slurm/job_7\n", {"slurm/job_8": (500, 100)}, 900 * KB),
        ("4:memory:/docker/1\n3:cpuset:/\n0::/\n", {"memory/docker/1": (500, 100), "memory": (2**63, 9)}, 430),
    ],
)
def test_free_memory_is_what_machine_and_job_have_left(tmp_path, belongs, groups, left):
    """Of what a job takes 30 bytes are files' pages, which the system takes back."""
    proc = tmp_path / "proc"
    (proc / "self").mkdir(parents=True)
    (proc / "self" / "cgroup").write_text(belongs)
    assert dataset._free_memory(proc, tmp_path) is None
    (proc / "meminfo").write_text("MemTotal:    1000 kB\nMemAvailable:     900 kB\n")
    for name, (most, taken) in groups.items():
        first = name.startswith("memory")
        (tmp_path / name).mkdir(parents=True, exist_ok=True)
        (tmp_path / name / ("memory.limit_in_bytes" if first else "memory.max")).write_text(f"{most}\n")
        (tmp_path / name / ("memory.usage_in_bytes" if first else "memory.current")).write_text(f"{taken}\n")
        counts = "active_file 1\ninactive_file 2\ntotal_" if first else ""
        total = "total_" if first else ""
        (tmp_path / name / "memory.stat").write_text(f"anon 70\n{counts}active_file 10\n{total}inactive_file 20\n")
    assert dataset._free_memory(proc, tmp_path) == left


def test_this_machine_tells_its_free_memory():
    left = dataset._free_memory()
    assert left is None if sys.platform != "linux" else left > 0


@pytest.mark.skipif(sys.platform != "linux", reason="macOS has no files in memory")
def test_pythons_without_files_in_memory_ask_the_system(monkeypatch):
    """Those of conda and uv are built for systems from before there were any."""
    monkeypatch.delattr(os, "memfd_create", raising=False)
    handle = dataset._memory_file()
    assert str(Path(f"/proc/self/fd/{handle}").readlink()).startswith("/memfd:reid")
    assert not os.get_inheritable(handle)
    os.close(handle)


def test_without_files_in_memory_one_without_a_name_is_shared(paths, monkeypatch):
    monkeypatch.setattr(dataset, "_memory_file", lambda: None)
    draws = evaluation_draws(7, 2)
    expected = list(batches(augmented(paths), draws, 0))
    assert same(expected, batches(augmented(paths, ImageCache(7, 32, 16, HUGE)), draws, 1))


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="the system cannot say so before")
def test_a_disk_without_room_for_it_is_said(monkeypatch):
    monkeypatch.setattr(dataset, "_memory_file", lambda: None)

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(InputError, match=r"GB for images: No space left on device; \$TMPDIR"):
        ImageCache(7, 32, 16, HUGE)


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine on which pinning memory fails")
@pytest.mark.parametrize("workers", [0, 1])
def test_a_process_that_computes_on_the_cpu_leaves_cuda_alone(paths, workers, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert len(list(batches(augmented(paths), evaluation_draws(7, 2), workers))) == 4


def test_workers_do_not_ask_the_network_for_a_newer_albumentations():
    """They are forked from a server that has imported this, which may begin before a transform that asks for it."""
    code = "import os, reid.data.dataset; print(os.environ['NO_ALBUMENTATIONS_UPDATE'])"
    environment = {name: value for name, value in os.environ.items() if name != "NO_ALBUMENTATIONS_UPDATE"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.stdout == "1\n", done.stderr
