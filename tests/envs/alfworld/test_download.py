"""ALFWorld's own downloader, run against a server on this machine that may hang up half-way."""

import json
import os
import re
import sys
import tempfile
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path

import pytest

from gtr_core.envs.alfworld.download import COUNTS, download
from gtr_core.envs.alfworld.games import GAME, SPLITS, find_games
from gtr_core.util.errors import UserError

needs_alfworld = pytest.mark.skipif(
    find_spec("alfworld") is None, reason="the downloader comes with the alfworld extra"
)
ONE_EACH = dict.fromkeys(SPLITS, 1)
GAME_JSON = {"pddl_domain": " " * 10_000, "grammar": "", "pddl_problem": "", "solvable": True, "walkthrough": ["look"]}


class Server(ThreadingHTTPServer):
    """Serves one file, ranges too. The first `hang_ups` answers end in the middle."""

    def __init__(self, content: bytes) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.content = content
        self.hang_ups = 0
        self.starts: list[int] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/games.zip"


class Answer(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        start = int(re.sub(r"\D", "", self.headers.get("Range", "0")))
        body = self.server.content[start:]
        self.server.starts.append(start)
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.server.hang_ups:
            self.server.hang_ups -= 1
            body = body[: len(body) // 2]
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        """Say nothing."""


def archive(path: Path, **broken: str) -> bytes:
    """A zip of one game a split; `broken` gives a split's game another text."""
    with zipfile.ZipFile(path, "w") as made:
        for split in SPLITS:
            name = f"json_2.1.1/{split}/pick_and_place_simple-Mug-None-Desk-301/trial_0/{GAME}"
            made.writestr(name, broken.get(split, json.dumps(GAME_JSON)))
    return path.read_bytes()


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    serving = Server(archive(tmp_path / "made.zip"))
    thread = threading.Thread(target=serving.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield serving
    serving.shutdown()
    serving.server_close()
    thread.join()


@needs_alfworld
def test_games_are_fetched_checked_and_laid_out(server: Server, tmp_path: Path) -> None:
    where = tmp_path / "data"
    assert download(where, expected=ONE_EACH, urls=[server.url]) == ONE_EACH
    assert [len(find_games(where, split)) for split in SPLITS] == [1, 1, 1]
    assert [path.name for path in where.iterdir()] == ["json_2.1.1"]
    assert download(where, expected=ONE_EACH, urls=[server.url]) == ONE_EACH
    assert server.starts == [0], "what is there is not fetched again"


@needs_alfworld
def test_a_broken_off_download_goes_on_where_it_stopped(server: Server, tmp_path: Path) -> None:
    server.hang_ups = 1
    with pytest.raises(UserError, match="could not be fetched"):
        download(tmp_path / "data", expected=ONE_EACH, urls=[server.url])
    assert not (tmp_path / "data").exists()
    assert download(tmp_path / "data", expected=ONE_EACH, urls=[server.url]) == ONE_EACH
    assert server.starts[1] > 0


@needs_alfworld
def test_offline_is_one_sentence_and_leaves_no_folder(server: Server, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="gtr alfworld generate") as raised:
        download(tmp_path / "data", urls=["http://127.0.0.1:9/games.zip"])
    assert "\n" not in str(raised.value) and not (tmp_path / "data").exists()


@needs_alfworld
def test_too_few_games_are_not_taken_for_all(server: Server, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="1 of 3,553 train, 1 of 140 valid_seen, 1 of 134 valid_unseen games"):
        download(tmp_path / "data", expected=COUNTS, urls=[server.url])
    assert not (tmp_path / "data").exists()


@needs_alfworld
@pytest.mark.parametrize(
    ("text", "words"),
    [("{", "not readable JSON"), (json.dumps(GAME_JSON | {"solvable": False}), "0 of 1 valid_seen")],
)
def test_broken_and_unsolvable_games_are_noticed(server: Server, tmp_path: Path, text: str, words: str) -> None:
    server.content = archive(tmp_path / "other.zip", valid_seen=text)
    with pytest.raises(UserError, match=words):
        download(tmp_path / "data", expected=ONE_EACH, urls=[server.url])
    assert not (tmp_path / "data").exists()


@needs_alfworld
def test_a_broken_archive_is_fetched_anew(server: Server, tmp_path: Path) -> None:
    whole, server.content = server.content, b"not a zip"
    with pytest.raises(UserError, match="broken"):
        download(tmp_path / "data", expected=ONE_EACH, urls=[server.url])
    server.content = whole
    assert download(tmp_path / "data", expected=ONE_EACH, urls=[server.url]) == ONE_EACH


@needs_alfworld
def test_the_environment_is_left_as_it_was(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALFWORLD_DATA", "as it was")
    download(tmp_path / "data", expected=ONE_EACH, urls=[server.url])
    assert os.environ["ALFWORLD_DATA"] == "as it was"


def test_games_that_are_there_in_part_are_not_touched(tmp_path: Path) -> None:
    (tmp_path / "json_2.1.1" / "train").mkdir(parents=True)
    with pytest.raises(UserError, match="0 of 1 train"):
        download(tmp_path, expected={"train": 1})


def test_without_the_extra_one_sentence_says_how_to_install_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    with pytest.raises(UserError, match=re.escape("pip install -e '.[alfworld]'")):
        download(tmp_path / "data")
    assert not (tmp_path / "data").exists()
