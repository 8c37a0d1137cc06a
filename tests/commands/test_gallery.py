"""``reid gallery``: whom it lets in, and what it serves."""

import pytest
from small_gallery import Colours, calibration

from reid.cli import main

pytest.importorskip("fastapi")

TOKEN = "0123456789abcdef-token"


@pytest.fixture
def serve(gallery, tmp_path, monkeypatch):
    """Runs the command; the applications that it would serve, each with its address."""
    served = []
    monkeypatch.setattr("reid.gallery.web.app.serve", lambda app, host, port: served.append((app, host, port)))
    monkeypatch.setattr("reid.gallery.web.app.one_thread_each", lambda: None)
    monkeypatch.delenv("REID_GALLERY_TOKEN", raising=False)

    def run(*arguments):
        served.clear()
        code = main(["gallery", "--store", str(tmp_path / "gallery"), *map(str, arguments)])
        return code, list(served)

    return run


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.1.2.3"])
def test_this_machine_alone_is_answered_without_a_token(serve, host):
    code, [(app, where, port)] = serve("--host", host)
    assert (code, where, port) == (0, host, 8000) and app.state.desk.sessions.token is None
    assert app.state.desk.service.who == "page"


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.2", "gallery.example"])
def test_others_need_the_token(serve, host, tmp_path, monkeypatch, capsys):
    assert serve("--host", host) == (2, [])
    assert f"--host {host}: others can reach it, so it needs --token-file FILE or $REID_GALLERY_TOKEN" in (
        capsys.readouterr().err
    )
    (tmp_path / "token").write_text(f" {TOKEN}\n")
    code, [(app, where, port)] = serve("--host", host, "--port", 0, "--token-file", tmp_path / "token")
    assert (code, where, port) == (0, host, 0) and app.state.desk.sessions.is_token(TOKEN)
    assert app.state.desk.service.who == "token"
    monkeypatch.setenv("REID_GALLERY_TOKEN", TOKEN)
    assert serve("--host", host)[0] == 0


def test_a_token_that_is_none(serve, tmp_path, capsys):
    for content, told in (
        (b"", "holds no token"),
        (b"short", "has 5 characters, needs 16"),
        (b"\xff", "cannot be read"),
    ):
        (tmp_path / "token").write_bytes(content)
        assert serve("--token-file", tmp_path / "token") == (2, []) and told in capsys.readouterr().err
    assert serve("--token-file", tmp_path / "none") == (2, []) and "none: cannot be read" in capsys.readouterr().err


def test_a_calibration_and_a_detector_may_be_given(serve, tmp_path, monkeypatch, capsys):
    (tmp_path / "other.json").write_text(calibration("elsewhere").to_json())
    monkeypatch.setattr("reid.video.detect.load_detector", lambda name: f"the detector {name}")
    _, [(app, *_)] = serve("--calibration", tmp_path / "other.json", "--detector", "torchvision")
    desk = app.state.desk
    assert desk.service.calibration.source == "elsewhere" and desk.detector == "the detector torchvision"
    assert isinstance(desk.service.network, Colours)
    assert serve("--calibration", tmp_path / "none.json") == (2, []) and "none.json" in capsys.readouterr().err
    assert main(["gallery", "--store", str(tmp_path / "nowhere")]) == 2 and "nowhere" in capsys.readouterr().err
