"""A tracking server that is slow, answers 500, or does what it was told and answers 500 all the same."""

import http.client
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlparse

import pytest
from mlflow import MlflowClient

from tasks.store.store import StageStore
from tasks.tracking.tracker import Tracker

from .test_aliases import VALID
from .test_tracking import stage, tracker

pytestmark = pytest.mark.slow


class Front:
    """A server in front of MLflow's: what it passes on, it passes on as it is."""

    def __init__(self, behind: str) -> None:
        self.mood = "well"  # | refuses (500) | forgets (passes on, then answers 500) | hangs
        self.calls = 0
        front, target = self, urlparse(behind)

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                front.calls += 1
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                if front.mood == "hangs":
                    time.sleep(3)
                status, data, kind = 500, b'{"error_code": "INTERNAL_ERROR", "message": "no"}', "application/json"
                if front.mood in ("well", "forgets"):
                    link = http.client.HTTPConnection(str(target.hostname), target.port, timeout=60)
                    headers = {k: v for k, v in self.headers.items() if k.lower() != "host"}
                    link.request(self.command, self.path, body, headers)
                    reply = link.getresponse()
                    told = reply.read()
                    if front.mood == "well":
                        status, data, kind = reply.status, told, reply.headers.get("Content-Type", "text/plain")
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = answer

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.uri = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def front(address: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Front]:
    made = Front(address)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", made.uri)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    yield made
    made.server.shutdown()


def iteration(run: Tracker, store: StageStore, k: int) -> None:
    """What a run tells of one iteration."""
    agent = stage(store, "update", k)
    run.register_model(agent, kind="agent", name="gtr-agent-points", directory=agent.directory / "model", step=k)
    run.deliver(agent)
    evaluated = stage(store, "evaluate", k, {"model": agent})
    run.deliver(evaluated, evaluates=agent, on=VALID)
    run.score(evaluated, evaluated=agent, on=VALID, success=k / 10, step=k)
    run.sync()


def test_no_line_is_lost_and_none_is_doubled_whatever_the_server_does(
    workspace: Path, serve: Callable[[], None], front: Front, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = StageStore(workspace / "store")
    serve()
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "30")
    run = tracker(workspace)
    iteration(run, store, 1)
    assert run.pending == 0
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    for k, mood in enumerate(("refuses", "forgets", "hangs"), 2):
        front.mood = mood
        run.sync(now=True)
        calls = front.calls
        iteration(run, store, k)
        assert run.pending > 0
        assert front.calls <= calls + 2, (
            f"one that {mood} is tried once, with one retry, and then left alone for a while"
        )
        run.sync(now=True)
    front.mood = "well"
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "30")
    run.finish("FINISHED")
    assert Tracker.reopen(workspace, "key-1").sync(now=True) == 0, "`gtr sync` delivers"
    client = MlflowClient(address, address)
    run_id = str(run.run_id)
    for key in ("update/loss", "evaluate/loss"):
        history = client.get_metric_history(run_id, key)
        assert [point.step for point in history] == [100 * k + part for k in range(1, 5) for part in range(3)]
    versions = client.search_model_versions("name = 'gtr-agent-points'")
    assert sorted(int(version.tags["gtr.iteration"]) for version in versions) == [1, 2, 3, 4]
    assert client.get_model_version_by_alias("gtr-agent-points", "best").tags["gtr.iteration"] == "4"
    assert client.get_run(run_id).info.status == "FINISHED"
