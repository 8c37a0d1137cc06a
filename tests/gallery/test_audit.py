from __future__ import annotations

import json
import resource
import stat
import subprocess
import sys
from datetime import UTC, datetime

import pytest
from reid.gallery.audit import AuditLog

from reid.errors import InputError


def test_a_record_is_a_line(tmp_path):
    log = AuditLog(tmp_path)
    assert list(log.read()) == []
    log.record("local", "search", k=10, distance=0.25)
    log.record("token", "forget", [3, 1])
    lines = (tmp_path / "audit.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == list(log.read())
    first, second = log.read()
    age = datetime.now(UTC) - datetime.fromisoformat(first.pop("time"))
    assert 0 <= age.total_seconds() < 60
    assert first == {"who": "local", "action": "search", "entries": [], "k": 10, "distance": 0.25}
    assert second["entries"] == [3, 1]
    assert stat.S_IMODE((tmp_path / "audit.jsonl").stat().st_mode) == 0o600
    assert log.torn() == []


@pytest.mark.parametrize("end", [b'{"time": "2', b"x", b'{"who": "local"}', b"[1]\n", b"\xff\n"])
def test_a_torn_line_stays_alone(tmp_path, end):
    log = AuditLog(tmp_path)
    log.record("local", "search")
    with log.path.open("ab") as file:
        file.write(end)
    assert log.torn() == [2]
    assert [record["action"] for record in log.read()] == ["search"]
    log.record("local", "forget", [1])
    assert [record["action"] for record in log.read() if "action" in record] == ["search", "forget"]
    assert log.path.read_bytes().splitlines()[1] == end.strip()


def test_several_processes_append(tmp_path):
    code = "import sys; from pathlib import Path; from reid.gallery.audit import AuditLog\n"
    code += "for n in range(100): AuditLog(Path(sys.argv[1])).record(sys.argv[2], 'search', range(n))"
    processes = [subprocess.Popen([sys.executable, "-c", code, tmp_path, who]) for who in ("a", "b")]
    assert [process.wait() for process in processes] == [0, 0]
    log = AuditLog(tmp_path)
    for who in ("a", "b"):
        assert [record["entries"] for record in log.read() if record["who"] == who] == [
            list(range(n)) for n in range(100)
        ]
    assert log.torn() == []


def test_what_cannot_be_written_is_said(tmp_path):
    with pytest.raises(InputError, match="audit.jsonl: cannot be written"):
        AuditLog(tmp_path / "nowhere").record("local", "search")
    with pytest.raises(ValueError, match="Out of range float values"):
        AuditLog(tmp_path).record("local", "search", distance=float("nan"))
    assert not (tmp_path / "audit.jsonl").exists()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    log = AuditLog(tmp_path)
    log.record("local", "search")
    resource.setrlimit(resource.RLIMIT_FSIZE, (log.path.stat().st_size + 20, limits[1]))  # stands for a full disk
    try:
        with pytest.raises(InputError, match="no space left for a whole record"):
            log.record("local", "search")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert log.torn() == [2]
