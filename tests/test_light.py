"""What must not wait for the network's packages, each in a fresh interpreter."""

import subprocess
import sys

import pytest

HEAVY = {"torch", "torchvision", "faiss", "pandas", "numpy", "cv2", "albumentations", "pydantic"}


def loaded(*lines: str) -> tuple[set[str], str]:
    """The heavy packages that the lines of a program have loaded, and what it said."""
    code = "\n".join(["import sys", *lines, "print(*sys.modules)"])
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return HEAVY & set(done.stdout.splitlines()[-1].split()), done.stderr


def test_importing_the_package_loads_none_of_them() -> None:
    assert not loaded("import reid")[0]
    assert loaded("import reid.config")[0] == {"pydantic"}


@pytest.mark.parametrize("command", ["train", "evaluate", "cross-domain", "search"])
def test_help_loads_none_of_them(command: str) -> None:
    packages, _ = loaded("from reid.cli import main", f"try: main(['{command}', '--help'])", "except SystemExit: pass")
    assert not packages


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("optim.lr=abc", "command line: optim.lr: "),
        ("optim.rate=1", "command line: unknown key 'optim.rate'"),
        ("sampler.images=0", "command line: sampler.images: "),
        ("model.last_stride=3", "command line: model.last_stride: "),
    ],
)
def test_an_error_in_a_config_s_values_is_told_before_torch_is_loaded(override: str, message: str) -> None:
    command = f"assert main(['train', '--cfg', 'sites_bn.yaml', '{override}']) == 2"
    packages, words = loaded("from reid.cli import main", command)
    assert message in words and packages == {"pydantic"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["evaluate", "--model", "runs/q", "--targets", "plaza"], "runs/q: no such folder or file"),
        (["cross-domain", "--models", "runs/q", "--targets", "plaza"], "runs/q: no such folder or file"),
        (["search", "query", "--model", "runs/q", "a.jpg"], "runs/q: no such folder or file"),
        (["search", "query", "--model", "poeple", "a.jpg"], "did you mean 'people'"),
        (["embed", "--model", "runs/q", "a.jpg", "--output", "f.npz"], "runs/q: no such folder or file"),
        (["adapt", "--model", ".", "--data", "no/such"], "'no/such': no such file or folder"),
        (["divergence", "--model", ".", "--readiness", "no/such"], "'no/such': no such file or folder"),
    ],
)
def test_what_is_not_there_is_told_before_torch_is_loaded(words: list[str], message: str) -> None:
    packages, told = loaded("from reid.cli import main", f"assert main({words}) == 2")
    assert message in told and "torch" not in packages
