"""A server is well when it answers 200, whatever proxy the machine has."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from flows.orchestration.server import answers
from tasks.execution.ports import free_port


class Handler(BaseHTTPRequestHandler):
    status = 200

    def do_GET(self) -> None:
        self.send_response(self.status if self.path == "/api/health" else 404)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def url(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free_port()}")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/api"
        server.shutdown()


def test_a_server_that_answers_is_well_and_one_that_fails_is_not(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert answers(url)
    monkeypatch.setattr(Handler, "status", 500)
    assert not answers(url)


@pytest.mark.parametrize("url_of_none", ["http://127.0.0.1:{port}/api", "nowhere", "http://127.0.0.1:port/api", ""])
def test_where_no_server_is_the_answer_is_no(url_of_none: str) -> None:
    assert not answers(url_of_none.format(port=free_port()), timeout=2)
