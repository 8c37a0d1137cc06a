"""What a wheel holds, and that it works from any folder."""

import ast
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from conftest import LONG, ROOT


def mapped() -> list[str]:
    """The modules that the map in CONTRIBUTING.md names, by the folder in whose lines they stand."""
    lines = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").split("```")[1].splitlines()
    modules, folders = list[str](), list[str]()
    for line in lines:
        indent = len(line) - len(line.lstrip())
        if heading := re.match(r" {0,6}(\w+)/ ", line):
            folders = [*folders[: indent // 2], heading[1]]
        if folders[:1] == ["reid"]:
            modules += ["/".join([*folders, name]) for name in re.findall(r"\w+\.py\b", line)]
    return modules


def test_the_map_of_the_house_names_every_module_once():
    modules = [path.relative_to(ROOT).as_posix() for path in (ROOT / "reid").rglob("*.py") if path.stem != "__init__"]
    assert sorted(mapped()) == sorted(modules)


def test_the_files_of_tests_that_begin_first_are_there():
    assert [name for name in LONG if not (ROOT / "tests" / name).is_file()] == []


SHIPPED = ("reid/networks/people.safetensors", "reid/networks/MODEL_CARD.md")
LARGEST = 25e6  # bytes of a wheel


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in ("reid", "configs", "datasets"):  # a copy: setuptools leaves, and later packs, a build folder
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    build = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-w", out, source]
    done = subprocess.run(build, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (path,) = out.glob("*.whl")
    return path


def test_configs_and_cards_travel_inside_the_package(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    for kind in ("configs", "datasets"):
        assert {f"reid/{p.relative_to(ROOT)}" for p in (ROOT / kind).rglob("*.yaml")} <= set(names)
    assert {
        "reid/__init__.pyi",
        "reid/py.typed",
        "reid/report/page.html.j2",
        "reid/report/published_results.csv",
        *SHIPPED,
        "reid/sites/rendered/body/body.safetensors",
        "reid/sites/rendered/body/NOTICE",
    } <= set(names)
    assert wheel.stat().st_size <= LARGEST
    packaged = {name for name in names if name.startswith("reid/") and name.endswith(".py")}
    assert packaged == {p.relative_to(ROOT).as_posix() for p in (ROOT / "reid").rglob("*.py")}
    assert {name.split("/")[0] for name in names} == {"reid", names[-1].split("/")[0]}


def test_the_wheel_alone_works_from_any_folder(wheel, tmp_path):
    installed, elsewhere = tmp_path / "site", tmp_path / "elsewhere"
    elsewhere.mkdir()
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(installed)

    def reid(*arguments: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            [sys.executable, "-m", "reid.cli", *arguments], cwd=elsewhere, capture_output=True, text=True,
            env={**os.environ, "PYTHONPATH": str(installed), "REID_DATA": str(tmp_path)},
        )  # fmt: skip

    where = subprocess.run(
        [sys.executable, "-c", "import reid; print(reid.__file__)"],
        cwd=elsewhere,
        text=True,
        capture_output=True,
        env={**os.environ, "PYTHONPATH": str(installed)},
    ).stdout
    assert where.startswith(str(installed))
    done = reid("train", "--cfg", "market_ibn_b.yaml", "model.weights=none")
    assert done.returncode == 2 and str(tmp_path / "Market-1501-v15.09.15") in done.stderr  # config and card were found
    assert reid("train", "--cfg", "nothing.yaml").stderr.count("market_ibn_b") == 1


def imported(source: Path) -> set[Path]:
    """The files of this project that a file imports, in functions too; not what is there for types alone."""
    tree = ast.parse(source.read_text())
    for_types = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    names: set[str] = set()
    for node in ast.walk(tree):
        if id(node) not in for_types and isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif id(node) not in for_types and isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    paths = [ROOT.joinpath(*name.split(".")) for name in names if name.startswith("reid")]
    paths += [ROOT / "tools" / name for name in names]
    return {file for path in paths for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file()}


def test_to_train_few_files_are_needed():
    """Who reads how a network is trained is done after these; what tests it is another command."""
    reached: set[Path] = set()
    waiting = [ROOT / "tools" / "train.py"]
    while waiting:
        if (source := waiting.pop()) not in reached:
            reached.add(source)
            waiting += imported(source)
    files = sorted(path.relative_to(ROOT).as_posix() for path in reached if "sites" not in path.parts)
    assert "reid/engine/train.py" in files and len(files) <= 45, files
