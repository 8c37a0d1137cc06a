"""A PostgreSQL server, Debian's, of the tests' own for as long as a block runs: without a port, in a folder that goes
with it. It ends when the process that started it dies."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NoReturn

import psycopg

# Nothing here outlives a power cut; and what the log holds goes with the next checkpoint (docs/scale.md).
SETTINGS = {
    "listen_addresses": "", "fsync": "off", "shared_buffers": "32MB", "autovacuum": "off",
    "wal_recycle": "off", "min_wal_size": "2MB", "max_connections": "50",
}  # fmt: skip

STARTING = 60.0  # seconds until it must answer


def programs() -> Path | None:
    """The folder of the newest server's programs."""
    found = Path("/usr/lib/postgresql").glob("*/bin/postgres")
    return max((path.parent for path in found), key=lambda path: float(path.parent.name), default=None)


class Server:
    """A running one; ``folder`` holds its files."""

    def __init__(self, folder: Path, address: str) -> None:
        self.folder, self._address, self._numbers = folder, address, itertools.count()
        self._db = psycopg.connect(address, autocommit=True)

    def location(self) -> str:
        """Of an empty place for a gallery."""
        schema = f"place{next(self._numbers)}"
        self.run(f"CREATE SCHEMA {schema}")
        return f"{self._address}&options=-csearch_path%3D{schema}"

    def run(self, *statements: str) -> list[tuple[object, ...]]:
        """Rows of the last statement."""
        cursors = [self._db.execute(statement) for statement in statements]
        return cursors[-1].fetchall() if cursors and cursors[-1].description else []

    def clear(self) -> None:
        """Drop all places."""
        names = self.run("SELECT nspname FROM pg_namespace WHERE nspname LIKE 'place%'")
        self.run(*(f"DROP SCHEMA {name} CASCADE" for (name,) in names))

    def clients(self) -> int:
        """Connections beside the one that asks."""
        query = (
            "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
        )
        return self.run(query)[0][0]

    def tables(self) -> bytes:
        """Of the files of all tables and indexes."""
        self.run("CHECKPOINT")
        paths = self.run("SELECT pg_relation_filepath(oid) FROM pg_class WHERE oid >= 16384 AND relfilenode > 0")
        return b"\n".join((self.folder / path).read_bytes() for (path,) in paths)

    def forget(self) -> None:
        """Until no change before this is in the log any more."""
        self.run("SELECT pg_switch_wal()", "CHECKPOINT", "SELECT pg_switch_wal()", "CHECKPOINT")

    def bytes(self) -> bytes:
        """Of every file of the server, the log's too, as they are now."""
        return b"\n".join(path.read_bytes() for path in sorted(self.folder.rglob("*")) if path.is_file())


@contextmanager
def serving() -> Iterator[Server]:
    """
    Raises:
        RuntimeError: it does not start, with the end of what it said.
    """
    bin_ = programs()
    with tempfile.TemporaryDirectory(prefix="pg") as name:
        folder, user = Path(name), []
        if os.getuid() == 0:  # as whom it will not run
            shutil.chown(folder, "postgres", "postgres")
            user = ["--reuid=postgres", "--regid=postgres", "--clear-groups"]
        making = ["-D", folder / "data", "-U", "gallery", "-A", "trust", "--no-sync", "--wal-segsize=1"]
        told = {"cwd": name, "stdout": (folder / "log").open("w"), "stderr": subprocess.STDOUT}

        def fail(what: str) -> NoReturn:
            raise RuntimeError(f"the PostgreSQL server {what}: {(folder / 'log').read_text()[-2000:]}")

        if subprocess.run(["setpriv", *user, bin_ / "initdb", *making], **told).returncode:
            fail("cannot be made")
        options = [f"-c{key}={value}" for key, value in SETTINGS.items()]
        command = [bin_ / "postgres", "-D", folder / "data", "-k", folder, *options]
        address = f"postgresql://gallery@/postgres?host={folder}"
        with told["stdout"], subprocess.Popen(["setpriv", *user, "--pdeathsig=INT", *command], **told) as process:
            try:
                until = time.monotonic() + STARTING
                while not _answers(address):
                    if process.poll() is not None or time.monotonic() > until:
                        fail("does not start")
                yield Server(folder / "data", address)
            finally:
                process.send_signal(signal.SIGINT)
                with suppress(subprocess.TimeoutExpired):
                    process.wait(STARTING)
                process.kill()


def _answers(address: str) -> bool:
    try:
        psycopg.connect(address, connect_timeout=5).close()
    except psycopg.OperationalError:
        time.sleep(0.02)
        return False
    return True
