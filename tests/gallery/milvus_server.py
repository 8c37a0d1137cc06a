"""A real Milvus server, of the package ``milvus``, in a process of its own for as long as a block runs.

Run as a script with a folder, it starts the server, prints its port and ends it when its input ends: also where the
process that started it is killed.
"""

from __future__ import annotations

import importlib.util
import os
import socket
import subprocess
import sys
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


def missing() -> str | None:
    """Why there can be no server here, or None."""
    if importlib.util.find_spec("milvus") is None:
        return "the package milvus (a server, for x86-64) is not installed"
    return None


@contextmanager
def serving(folder: Path, settings: Mapping[str, object] | None = None) -> Iterator[tuple[str, int]]:
    """Address ("milvus://HOST:PORT") of a server that keeps its data in ``folder``, and its process' id.

    Args:
        settings: of milvus.yaml, such as "proxy.timeTickInterval": milliseconds between the server's time stamps, for
            one of which a consistent read waits, by default 200.
    """
    changed = {name.replace(".", "_").upper(): str(value) for name, value in (settings or {}).items()}
    command, environment = [sys.executable, __file__, str(folder.absolute())], os.environ | changed
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        try:
            answer = process.stdout.readline().split()
            if len(answer) != 2:
                raise RuntimeError(f"the Milvus server did not start: see {folder}/logs")
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


def main(folder: Path) -> None:
    from milvus import MilvusServer, MilvusServerConfig

    config = MilvusServerConfig(data_dir=str(folder))
    names = [name for name in config.configurable_items if name.endswith("_port")]
    *ports, peer, metrics = free_ports(len(names) + 2)
    config.update(**dict(zip(names, ports, strict=True)))
    folder.mkdir(parents=True, exist_ok=True)
    etcd = folder / "etcd.yaml"
    etcd.write_text(ETCD.format(peer=peer, client=dict(zip(names, ports, strict=True))["etcd_port"]))
    # Its own settings do not know etcd's port for peers, at which a second server would fail.
    config.template_text = config.template_text.replace(
        "  use:\n    embed: true", f"  config:\n    path: {etcd}\n  use:\n    embed: true"
    )
    server = MilvusServer(config)
    server.webservice_port = metrics
    try:
        server.start()
        print(server.listen_port, server.server_proc.pid, flush=True)
        sys.stdin.read()
    finally:
        server.stop()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
