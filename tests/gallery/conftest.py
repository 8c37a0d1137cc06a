from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from crash_worker import Worker
from postgresql_server import programs, serving

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def postgresql():
    """A server for these tests alone; each makes itself a place on it."""
    if programs() is None:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)("PostgreSQL (Debian: postgresql) is not here")
    with serving() as server:
        yield server


@pytest.fixture(scope="session")
def worker(tmp_path_factory):
    """A process that works on galleries, and may be killed at any call."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)("no C compiler for what kills at a call")
    library = tmp_path_factory.mktemp("library") / "kill_at.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", library, HERE / "kill_at.c", "-ldl"], check=True)
    worker = Worker(library)
    yield worker
    worker.process.stdin.close()
    assert worker.process.wait(20) == 0
