"""A real chat endpoint on 127.0.0.1 that does as it is told, well or badly."""

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

USAGE = {"prompt_tokens": 1000, "completion_tokens": 100}


@dataclass(frozen=True)
class Say:
    """A chat completion with this text, or these tool calls."""

    content: str | None
    tool_calls: object = None
    usage: Mapping[str, int] | None = field(default_factory=lambda: USAGE)

    def body(self) -> bytes:
        message = {"role": "assistant", "content": self.content}
        message |= {"tool_calls": self.tool_calls} if self.tool_calls else {}
        value = {"choices": [{"index": 0, "message": message}], "usage": self.usage}
        return json.dumps({k: v for k, v in value.items() if v is not None}).encode()


@dataclass(frozen=True)
class Status:
    """An HTTP status with a body, whatever that is."""

    code: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Hang:
    """Nothing, for as long as the server lives; with `drip` a byte now and then."""

    drip: bool = False


@dataclass(frozen=True)
class Drop:
    """Half of a reply, and the connection is closed."""


Act = Say | Status | Hang | Drop
Behave = Callable[[int, dict[str, Any]], Act]  # of the request's number, from 0, and its body


class Endpoint:
    """Use it as a context; `requests` are the bodies that came, `headers` theirs."""

    def __init__(self, behave: Behave) -> None:
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.paths: list[str] = []
        self._behave, self._closed, self._lock = behave, threading.Event(), threading.Lock()
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                endpoint._answer(self)

            def log_message(self, format: str, *args: object) -> None:
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def __enter__(self) -> "Endpoint":
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self._closed.set()
        self._server.shutdown()
        self._server.server_close()

    def _answer(self, handler: BaseHTTPRequestHandler) -> None:
        body = json.loads(handler.rfile.read(int(handler.headers["Content-Length"])))
        with self._lock:
            number = len(self.requests)
            self.requests.append(body)
            self.headers.append(dict(handler.headers))
            self.paths.append(handler.path)
        act = self._behave(number, body)
        if isinstance(act, Say):
            act = Status(200, act.body())
        if isinstance(act, Status):
            handler.send_response(act.code)
            for name, value in act.headers.items():
                handler.send_header(name, value)
            handler.send_header("Content-Length", str(len(act.body)))
            handler.end_headers()
            handler.wfile.write(act.body)
        elif isinstance(act, Drop):
            handler.send_response(200)
            handler.send_header("Content-Length", "1000")
            handler.end_headers()
            handler.wfile.write(b'{"choices": [')
            handler.close_connection = True
        else:
            if act.drip:
                handler.send_response(200)
                handler.end_headers()
            while not self._closed.wait(0.02):
                if act.drip:
                    try:
                        handler.wfile.write(b" ")
                        handler.wfile.flush()
                    except OSError:  # the client gave up, as it should
                        break
            handler.close_connection = True


def yes() -> Say:
    return Say('{"answer1": "yes", "evaluation": "YES", "correction": {}}')


def no(**fields: object) -> Say:
    return Say(json.dumps({"answer1": "no", "evaluation": "NO", "correction": fields}))


def in_turn(*acts: Act) -> Behave:
    """The acts one after the other, the last one from then on."""
    return lambda number, body: acts[min(number, len(acts) - 1)]
