"""A real Milvus server, of the package ``milvus``, in a process of its own for as long as a block runs.

Run as a script with two folders, for its data and for its programs, it starts the server, prints its port and ends it
when its input ends: also where the process that started it is killed.
"""

from __future__ import annotations

import importlib.util
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

ETCD = """
listen-peer-urls: http://127.0.0.1:{peer}
initial-advertise-peer-urls: http://127.0.0.1:{peer}
initial-cluster: default=http://127.0.0.1:{peer}
listen-client-urls: http://127.0.0.1:{client}
advertise-client-urls: http://127.0.0.1:{client}
"""

# How often it looks for what is to be loaded, indexed, searched in place of others: seconds, then milliseconds. And of
# what happens it writes down what went wrong alone, and has few streams in which it stamps the time.
SOON = {
    "queryCoord.updateNextTargetInterval": 1,
    "queryCoord.checkIndexInterval": 300,
    "queryCoord.checkSegmentInterval": 300,
    "queryCoord.checkChannelInterval": 200,
    "queryCoord.checkHandoffInterval": 500,
    "queryCoord.distPullInterval": 100,
    "indexCoord.scheduler.interval": 100,
    "log.level": "error",
    "rootCoord.dmlChannelNum": 4,
}


STARTING = 60.0  # seconds until it must answer


def missing() -> str | None:
    """Why there can be no server here, or None."""
    if importlib.util.find_spec("milvus") is None:
        return "the package milvus (a server, for x86-64) is not installed"
    return None


@contextmanager
def serving(
    folder: Path, settings: Mapping[str, object] | None = None, programs: Path | None = None
) -> Iterator[tuple[str, int]]:
    """Address ("milvus://HOST:PORT") of a server that keeps its data in ``folder``, and its process' id.

    Args:
        settings: of milvus.yaml, such as "proxy.timeTickInterval": milliseconds between the server's time stamps, for
            one of which a consistent read waits, by default 200.
        programs: a folder for the server's programs, which are unpacked there once for all servers that have it;
            by default one in ``folder``.

    Raises:
        RuntimeError: it does not start, with the end of what it said.
    """
    changed = {name.replace(".", "_").upper(): str(value) for name, value in (settings or {}).items()}
    folders = [str(each.absolute()) for each in (folder, programs or folder / "bin")]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, __file__, *folders], env=os.environ | changed, **pipes) as process:
        try:
            answer = process.stdout.readline().split()
            if len(answer) != 2:
                logs = [path.read_text(errors="replace")[-2000:] for path in sorted(folder.glob("logs/milvus-*.log"))]
                raise RuntimeError("\n".join(["the Milvus server does not start:", *logs]))
            yield f"milvus://127.0.0.1:{answer[0]}", int(answer[1])
        finally:
            process.stdin.close()
            process.wait()


def free_ports(count: int) -> list[int]:
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def answers(port: int) -> bool:
    """Whether all parts of the server whose health is told at this port are well."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=5) as answer:
            return b"OK" in answer.read()
    except OSError:
        return False


def main(folder: Path, programs: Path) -> None:
    from milvus import MilvusServer, MilvusServerConfig

    config = MilvusServerConfig(data_dir=str(folder))
    names = [name for name in config.configurable_items if name.endswith("_port")]
    *ports, peer, metrics = free_ports(len(names) + 2)
    config.update(**dict(zip(names, ports, strict=True)))
    for each in (folder, programs):
        each.mkdir(parents=True, exist_ok=True)
    if programs != folder / "bin":
        (folder / "bin").symlink_to(programs)
    etcd = folder / "etcd.yaml"
    etcd.write_text(ETCD.format(peer=peer, client=dict(zip(names, ports, strict=True))["etcd_port"]))
    # Its own settings do not know etcd's port for peers, at which a second server would fail.
    config.template_text = config.template_text.replace(
        "  use:\n    embed: true", f"  config:\n    path: {etcd}\n  use:\n    embed: true"
    )
    server = MilvusServer(config, wait_for_started=False)
    server.webservice_port = metrics
    try:
        server.start()
        until = time.monotonic() + STARTING
        while not answers(server.webservice_port):
            if server.server_proc.poll() is not None or time.monotonic() > until:
                raise SystemExit("the Milvus server does not answer")
            time.sleep(0.05)
        print(server.listen_port, server.server_proc.pid, flush=True)
        sys.stdin.read()
    finally:
        server.stop()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
