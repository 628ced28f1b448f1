"""The workspace's Prefect server: shared by real processes, gone when they are killed."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from flows.orchestration.server import answers as healthy
from gtr_core.util.files import read_json

pytestmark = pytest.mark.slow

CLIENT = """
import sys, time
from pathlib import Path
from flows.orchestration.server import prefect_server
with prefect_server(Path(sys.argv[1])) as url:
    print(url, flush=True)
    time.sleep(float(sys.argv[2]))
"""


def client(workspace: Path, seconds: float = 600) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", CLIENT, str(workspace), str(seconds)], stdout=subprocess.PIPE, text=True
    )


def url_of(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def servers(workspace: Path) -> list[psutil.Process]:
    """The supervisor of the workspace and all below it."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        command = process.info["cmdline"] or []
        if "flows.orchestration.server" in command and str(workspace) in command:
            found += [process, *process.children(recursive=True)]
    return found


def wait_until_gone(processes: list[psutil.Process], seconds: float) -> None:
    _, alive = psutil.wait_procs(processes, timeout=seconds)
    assert not alive, f"orphans: {alive}"


def test_killed_clients_leave_no_server(server_workspace: Path) -> None:
    first, second = client(server_workspace), client(server_workspace)
    url = url_of(first)
    assert url.startswith("http://127.0.0.1:") and url_of(second) == url
    processes = servers(server_workspace)
    assert len(processes) == 2, "one supervisor with one server"
    first.kill()
    first.wait()
    time.sleep(1)
    assert healthy(url, timeout=5), "the other client still needs it"
    second.kill()
    second.wait()
    wait_until_gone(processes, 10)
    assert not (server_workspace / "prefect" / "server.json").exists()


def test_a_client_that_comes_while_the_server_stops_gets_a_new_one(server_workspace: Path) -> None:
    first = client(server_workspace)
    old = url_of(first)
    first.kill()
    first.wait()
    second = client(server_workspace)
    url = url_of(second)
    assert healthy(url, timeout=5)
    assert url == old or not healthy(old, timeout=1)
    processes = servers(server_workspace)
    assert len(processes) == 2
    second.kill()
    second.wait()
    wait_until_gone(processes, 10)


def test_a_killed_server_comes_back_and_a_killed_supervisor_is_replaced(server_workspace: Path) -> None:
    first = client(server_workspace)
    url = url_of(first)
    supervisor, server = servers(server_workspace)
    server.kill()
    wait_until_gone([server], 5)
    until = time.monotonic() + 60
    while not healthy(url, timeout=2):
        assert time.monotonic() < until, "the server was not started again"
        time.sleep(0.2)
    processes = servers(server_workspace)
    os.kill(supervisor.pid, signal.SIGKILL)
    wait_until_gone(processes, 5)
    note = server_workspace / "prefect" / "server.json"
    until = time.monotonic() + 60
    while not (note.exists() and read_json(note)["pid"] != supervisor.pid and healthy(url, timeout=2)):
        assert time.monotonic() < until, "the client did not start another supervisor at the same address"
        time.sleep(0.2)
    processes = servers(server_workspace)
    supervisor = processes[0]
    supervisor.suspend()  # or it would notice that its last client is gone, and clean up
    first.kill()
    supervisor.kill()
    first.wait()
    wait_until_gone(processes, 5)
    assert read_json(note)["pid"] == supervisor.pid, "a stale note"
    second = client(server_workspace, seconds=0)
    assert url_of(second).startswith("http://127.0.0.1:")
    assert second.wait() == 0
    wait_until_gone(servers(server_workspace), 10)


def test_a_server_that_cannot_start_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from flows.orchestration.server import ServerFailedError, prefect_server

    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "prefect"))
    monkeypatch.setenv("PREFECT_API_DATABASE_CONNECTION_URL", "sqlite+aiosqlite:////nowhere/at/all.db")
    sentence = r"did not start: .* \(all of it is in .*server\.log\)"
    with pytest.raises(ServerFailedError, match=sentence), prefect_server(tmp_path):
        pass
    assert servers(tmp_path) == []


def test_a_given_server_is_used_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from flows.orchestration.server import prefect_server

    monkeypatch.setenv("PREFECT_API_URL", "http://elsewhere:4200/api")
    with prefect_server(tmp_path) as url:
        assert url == "http://elsewhere:4200/api"
    assert list(tmp_path.iterdir()) == []
