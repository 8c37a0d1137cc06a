"""What a figure came from: code and packages."""

from __future__ import annotations

import importlib.metadata
import platform
import subprocess
from pathlib import Path

import reid

PACKAGES = ("torch", "faiss-cpu", "albumentations", "opencv-python-headless", "numpy", "numba", "pillow")


def code_version() -> str:
    """Package version, and the commit where the package lies in a git checkout."""
    folder = Path(reid.__file__).resolve().parent
    command = ["git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    tracked = ["git", "-C", str(folder), "ls-files", "--error-unmatch", "__init__.py"]  # not some other repository
    try:
        subprocess.run(tracked, capture_output=True, check=True)
        commit = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return reid.__version__
    return f"{reid.__version__} {commit}"


def package_versions() -> dict[str, str]:
    """Versions of Python and of the packages that figures depend on."""
    versions = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:  # the same module by another package, such as faiss-gpu
            versions[name] = "not installed under this name"
    return versions
