from __future__ import annotations

import os

import milvus_server
import pytest
from postgresql_server import programs, serving


@pytest.fixture(scope="session")
def postgresql():
    """A server for these tests alone; each makes itself a place on it."""
    if programs() is None:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)("PostgreSQL (Debian: postgresql) is not here")
    with serving() as server:
        yield server


@pytest.fixture(scope="session")
def _has_milvus():
    reason = milvus_server.missing()
    if reason:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(reason)


@pytest.fixture(scope="session")
def quick(tmp_path_factory, _has_milvus):
    """Address of a Milvus server for these tests alone that has 10 ms between its time stamps."""
    ticking = milvus_server.SOON | {"proxy.timeTickInterval": 10}
    with milvus_server.serving(tmp_path_factory.mktemp("milvus"), ticking) as (address, _):
        yield address
