from __future__ import annotations

import os

import pytest
from postgresql_server import programs, serving


@pytest.fixture(scope="session")
def postgresql():
    """A server for these tests alone; each makes itself a place on it."""
    if programs() is None:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)("PostgreSQL (Debian: postgresql) is not here")
    with serving() as server:
        yield server
