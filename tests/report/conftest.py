from __future__ import annotations

from pathlib import Path

import pytest
from benchmark_folders import benchmark_folder

from reid.report.inputs import Benchmark, read_benchmarks
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
