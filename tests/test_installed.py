"""Another project's package named reid, in the place of this one or among its files."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

from reid.installed import another_reid

TOOLS = sorted(path.name for path in (ROOT / "tools").glob("*.py") if path.name != "checkout.py")


def python(site: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=site.parent,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(site)},
    )


def foreign(site: Path) -> Path:
    (site / "reid").mkdir(parents=True)
    (site / "reid" / "__init__.py").write_text("raise RuntimeError('the other package was run')\n")
    (site / "reid-1.0.0.dist-info").mkdir()
    return site


def test_this_package_alone_is_no_problem() -> None:
    assert another_reid() is None


@pytest.mark.parametrize("tool", TOOLS)
def test_every_tool_refuses_another_project_s_package_without_running_it(tmp_path: Path, tool: str) -> None:
    site = foreign(tmp_path / "site")
    done = python(site, ROOT / "tools" / tool, "--help")
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith(
        "error: the package `reid` of another project (PyPI's reid) is installed in the place"
    )
    assert str(site / "reid") in done.stderr and "pip uninstall reid" in done.stderr and "Traceback" not in done.stderr


def test_files_of_both_in_one_folder_are_refused_by_the_command_and_the_tools(tmp_path: Path) -> None:
    site = tmp_path / "site"
    shutil.copytree(ROOT / "reid", site / "reid", ignore=shutil.ignore_patterns("__pycache__"))
    assert python(site, "-m", "reid.cli", "train", "--help").returncode == 0
    (site / "reid-1.0.0.dist-info").mkdir()
    for arguments in (("-m", "reid.cli", "train", "--help"), (ROOT / "tools" / "train.py", "--help")):
        done = python(site, *arguments)
        assert done.returncode == 2 and f"{site / 'reid'}, of reid-1.0.0" in done.stderr, done.stderr


def test_this_project_s_own_record_is_not_taken_for_the_other_s(tmp_path: Path) -> None:
    site = tmp_path / "site"
    shutil.copytree(ROOT / "reid", site / "reid", ignore=shutil.ignore_patterns("__pycache__"))
    (site / "reid_gap-0.1.0.dist-info").mkdir()
    (site / "reid_tools-1.0.dist-info").mkdir()
    assert python(site, ROOT / "tools" / "train.py", "--help").returncode == 0


def test_a_tool_without_the_package_says_how_to_install_it(tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()
    done = python(tmp_path / "site", "-S", ROOT / "tools" / "train.py", "--help")
    assert done.returncode == 2 and "pip install --editable ." in done.stderr
