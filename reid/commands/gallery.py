"""``reid gallery``: the gallery as a web page and an HTTP API."""

from __future__ import annotations

import argparse
import ipaddress
import os
from pathlib import Path

from reid.commands.command import Command
from reid.commands.models import add_model, check_there
from reid.commands.search.options import add_calibration, add_store
from reid.errors import InputError
from reid.networks import EMBEDDER, PEOPLE

TOKEN = "REID_GALLERY_TOKEN"


def arguments(parser: argparse.ArgumentParser) -> None:
    add_store(parser)
    add_model(parser, EMBEDDER, default=PEOPLE)
    add_calibration(parser)
    told = "finds people in photographs: torchvision, torchvision:WEIGHTS, or a foreign network (default: none)"
    parser.add_argument("--detector", metavar="WHAT", help=told)
    told = "beyond loopback takes a token (default: %(default)s)"
    parser.add_argument("--host", default="127.0.0.1", metavar="ADDRESS", help=told)
    parser.add_argument("--port", type=int, default=8000, metavar="N", help="0 takes a free one (default: %(default)s)")
    told = f"the token asked for, in a file (or in ${TOKEN})"
    parser.add_argument("--token-file", type=Path, metavar="FILE", help=told)
    told = "a name that browsers reach it by; repeatable"
    parser.add_argument("--allow-host", action="append", default=[], metavar="NAME", help=told)


def run(arguments: argparse.Namespace) -> None:
    check_there([arguments.model], takes=EMBEDDER)
    from reid.commands.search.shared import opened
    from reid.data.layouts import text_of
    from reid.gallery.web.app import create_app, one_thread_each, serve
    from reid.networks import load
    from reid.video.detect import load_detector

    token, hosts = os.environ.get(TOKEN) or None, [arguments.host, *arguments.allow_host]
    if arguments.token_file is not None:
        token = text_of(arguments.token_file).strip()
        if not token:
            raise InputError(f"{arguments.token_file}: holds no token")
    if token is None and not _loopback(arguments.host):
        raise InputError(f"--host {arguments.host}: others can reach it, so it needs --token-file FILE or ${TOKEN}")
    detector = load_detector(arguments.detector) if arguments.detector else None
    with opened(arguments, load(arguments.model), "page" if token is None else "token") as service:
        one_thread_each()
        serve(create_app(service, detector=detector, token=token, allowed_hosts=hosts), arguments.host, arguments.port)


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


GALLERY = Command("gallery.py", "The gallery as a web page and an HTTP API.", "--store runs/gallery", arguments, run)
