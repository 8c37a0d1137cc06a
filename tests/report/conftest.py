from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from benchmark_folders import benchmark_folder

from reid.report.benchmark import Benchmark, read_benchmarks
from reid.report.page import build_report


@pytest.fixture(scope="session")
def folder(tmp_path_factory) -> Path:
    """A small benchmark's folder with its report; read only."""
    models, remedies = ("bn", "ibn_b"), ("bn_standardised",)
    path = benchmark_folder(tmp_path_factory.mktemp("report"), models, remedies=remedies, identities=8)
    build_report([path], progress=False)
    return path


@pytest.fixture(scope="session")
def benchmark(folder) -> Benchmark:
    return read_benchmarks([folder])


@pytest.fixture
def copy(folder, tmp_path):
    """Copies the benchmark's own files into a new folder."""

    def make(name="copy"):
        shutil.copytree(folder, tmp_path / name, ignore=shutil.ignore_patterns("*.html", "images", "tables.*"))
        return tmp_path / name

    return make
