"""``reid gallery``: the gallery as a web page and an HTTP API."""

from __future__ import annotations

import argparse
import ipaddress
import os
from functools import partial
from pathlib import Path

from reid.commands.command import Command
from reid.commands.models import add_model, check_there
from reid.commands.search.shared import add_store, calibration_of
from reid.errors import InputError
from reid.networks import EMBEDDER, PEOPLE

TOKEN = "REID_GALLERY_TOKEN"


def arguments(parser: argparse.ArgumentParser) -> None:
    add_store(parser)
    add_model(parser, EMBEDDER, default=PEOPLE)
    parser.add_argument(
        "--calibration", type=Path, metavar="JSON", help="thresholds (default: those kept with the gallery)"
    )
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        metavar="ADDRESS",
        help="another than loopback needs a token (default: %(default)s)",
    )
    parser.add_argument("--port", type=int, default=8000, metavar="N", help="0 takes a free one (default: %(default)s)")
    parser.add_argument(
        "--token-file", type=Path, metavar="FILE", help=f"the token asked for, in a file (or in ${TOKEN})"
    )
    parser.add_argument(
        "--allow-host", action="append", default=[], metavar="NAME", help="a name that browsers reach it by; repeatable"
    )
    parser.set_defaults(rate=None)


def run(arguments: argparse.Namespace) -> None:
    check_there([arguments.model], takes=EMBEDDER)
    from reid.gallery.audit import AuditLog
    from reid.gallery.location import open_store
    from reid.gallery.retention import drop_expired
    from reid.gallery.web.app import create_app, one_thread_each, require_extra, serve
    from reid.networks import load

    require_extra()
    if arguments.store.endswith(".db"):
        raise InputError(
            f"--store {arguments.store}: Milvus Lite is for one at a time; the page needs a folder or a server"
        )
    token, hosts = _token(arguments.token_file), [arguments.host, *arguments.allow_host]
    if token is None and not _loopback(arguments.host):
        raise InputError(f"--host {arguments.host}: others can reach it, so it needs --token-file FILE or ${TOKEN}")
    model = load(arguments.model)
    writer = partial(open_store, arguments.store, model.origin, write=True)

    def drop() -> None:
        with writer() as gallery:
            drop_expired(gallery)

    one_thread_each()
    with open_store(arguments.store, model.origin) as store:
        calibration = calibration_of(arguments, store)
        app = create_app(
            store,
            model,
            calibration,
            audit=AuditLog(store.folder),
            writer=writer,
            drop_expired=drop,
            token=token,
            allowed_hosts=hosts,
        )
        serve(app, arguments.host, arguments.port)


def _token(file: Path | None) -> str | None:
    if file is None:
        return os.environ.get(TOKEN) or None
    try:
        token = file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{file}: cannot be read: {error}") from None
    if not token:
        raise InputError(f"{file}: holds no token")
    return token


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


GALLERY = Command(
    "gallery.py",
    "The gallery as a web page and an HTTP API.",
    "--store runs/gallery",
    arguments,
    run,
)
