import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tasks.execution.environment import quiet_environment
from tasks.tracking.connection import connect


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database that MLflow has created: its 50 migrations take seconds, once."""
    workspace = tmp_path_factory.mktemp("mlflow")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        connect(workspace).search_experiments()
    return workspace / "mlflow.db"


@pytest.fixture
def workspace(tmp_path: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    quiet_environment(tmp_path)
    folder = tmp_path / "workspace"
    folder.mkdir()
    shutil.copy(empty_store, folder / "mlflow.db")
    yield folder


@pytest.fixture
def address(monkeypatch: pytest.MonkeyPatch) -> str:
    """An address at which no server listens yet."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    uri = f"http://127.0.0.1:{port}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    return uri


@pytest.fixture
def serve(workspace: Path, address: str) -> Iterator[Callable[[], None]]:
    """Start an MLflow server at the address; it is stopped after the test."""
    started: list[subprocess.Popen[bytes]] = []

    def start() -> None:
        port = address.rpartition(":")[2]
        store = [
            "--backend-store-uri",
            f"sqlite:///{workspace}/mlflow.db",
            "--artifacts-destination",
            f"{workspace}/remote",
        ]
        command = [
            sys.executable,
            "-m",
            "mlflow",
            "server",
            "--host",
            "127.0.0.1",
            "--port",
            port,
            "--workers",
            "1",
            *store,
        ]
        started.append(subprocess.Popen(command, start_new_session=True, stderr=subprocess.DEVNULL))
        until = time.monotonic() + 120
        while True:
            try:
                urllib.request.urlopen(f"{address}/health", timeout=2)
                return
            except OSError:
                assert time.monotonic() < until
                time.sleep(0.2)

    yield start
    for server in started:
        os.killpg(server.pid, 9)
        server.wait()
