"""The page of a small gallery, served by a process of its own."""

from __future__ import annotations

import re
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

SERVER = """
import sys
from pathlib import Path
sys.path[:0] = [{tests!r}]
from small_gallery import application
from reid.gallery.web import app as serving, guard
from reid.gallery.web.pictures import Limits
serving.HEAD, guard.LINGER = {seconds}, {linger}
app = application(Path({folder!r}), token={token!r}, limits=Limits(seconds={seconds}))
serving.serve(app, "127.0.0.1", 0)
app.state.desk.service.gallery.close()
print("closed in order")
"""


@contextmanager
def served(folder, token=None, seconds=30.0, linger=0.2):
    """The process and its port; ``linger``: seconds that it throws away what a refused client still sends."""
    tests = str(Path(__file__).parent)
    code = SERVER.format(tests=tests, folder=str(folder), token=token, seconds=seconds, linger=linger)
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        yield process, int(re.search(r":(\d+) ", process.stdout.readline())[1])
    finally:
        if process.poll() is None:
            process.terminate()
        process.communicate(timeout=20)
