"""One Prefect API server for a workspace, shared by its processes and gone with the last of them.

A client holds a shared lock while it needs the server. The first one starts a supervisor, a small process of its own
session, whose child is the server. The supervisor waits for the lock alone: when it gets it every client has ended, in
whatever way, because the kernel frees the locks of killed processes; it stops the server while it holds the lock, so a
client that comes meanwhile waits and starts a new one. The server dies with its supervisor, by the kernel as well.
"""

import fcntl
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import psutil

from flows.orchestration.health import is_well
from flows.orchestration.processes import die_with_parent
from gtr_core.util.errors import UserError
from gtr_core.util.files import read_json, write_json
from gtr_core.util.locks import exclusive, shared
from tasks.execution.environment import quiet_environment
from tasks.execution.ports import free_port

START_S = 180.0  # the first start creates the database: 10 s on a quiet machine, more on a busy one
_POLL_S = 0.1
_WATCH_S = 1.0
_ROOM = 2**20  # bytes; with less the server can write neither its database nor why


class ServerFailedError(UserError):
    """The Prefect server did not start."""


@contextmanager
def prefect_server(workspace: Path) -> Iterator[str]:
    """The URL of a Prefect API for the flows in the block, which is also set for this process and its children.

    PREFECT_API_URL is used as it is where it is set. Otherwise the workspace's own server is joined or started.
    Raises ServerFailedError with the last line of its log.
    """
    given = os.environ.get("PREFECT_API_URL")
    if given:
        with _prefect_settings(given):
            yield given
        return
    quiet_environment(workspace)
    folder = _folder(workspace)
    with shared(folder / "clients.lock"):
        with exclusive(folder / "start.lock"):
            url = _running(folder) or _start(workspace)
        os.environ["PREFECT_API_URL"] = url
        try:
            with _prefect_settings(url), _kept_up(workspace, url):
                yield url
        finally:
            os.environ.pop("PREFECT_API_URL", None)


@contextmanager
def _prefect_settings(url: str) -> Iterator[None]:
    """The URL for a Prefect that had read the environment before; what it has left to say is sent before the end."""
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogWorker
    from prefect.settings import PREFECT_API_URL, temporary_settings

    with temporary_settings({PREFECT_API_URL: url}):
        try:
            yield
        finally:
            APILogWorker.drain_all(timeout=5)
            EventsWorker.drain_all(timeout=5)


@contextmanager
def _kept_up(workspace: Path, url: str) -> Iterator[None]:
    """Replace a supervisor that is killed, at the same address: Prefect would ask for a lost server for minutes."""
    folder, done = _folder(workspace), threading.Event()

    def watch() -> None:
        while not done.wait(_WATCH_S):
            if not _is_supervised(folder):
                with exclusive(folder / "start.lock"):
                    if not _is_supervised(folder):
                        _start(workspace, urlsplit(url).port)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()


def _folder(workspace: Path) -> Path:
    return workspace.absolute() / "prefect"


def _running(folder: Path) -> str | None:
    """The URL of the workspace's server if it is this one's, alive and answering."""
    if not _is_supervised(folder):
        return None
    url = str(read_json(folder / "server.json")["url"])
    return url if answers(url, timeout=10) else None


def _is_supervised(folder: Path) -> bool:
    path = folder / "server.json"
    if not path.exists():
        return False
    noted = read_json(path)
    try:
        supervisor = psutil.Process(noted["pid"])
        return bool(supervisor.create_time() == noted["started"] and supervisor.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _start(workspace: Path, port: int | None = None) -> str:
    folder = _folder(workspace)
    log = folder / "server.log"
    (folder / "server.json").unlink(missing_ok=True)  # of a supervisor that was killed
    with log.open("w") as output:
        supervisor = subprocess.Popen(
            [sys.executable, "-m", "flows.orchestration.server", str(workspace.absolute()), str(port or free_port())],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    until = time.monotonic() + START_S
    while time.monotonic() < until and supervisor.poll() is None:
        url = _running(folder)
        if url:
            return url
        time.sleep(_POLL_S)
    supervisor.terminate()
    full = shutil.disk_usage(folder).free < _ROOM
    lines = log.read_text().strip().splitlines() or ["the disk is full" if full else "it said nothing"]
    raise ServerFailedError(f"the Prefect server did not start: {lines[-1]} (all of it is in {log}).")


def answers(url: str, timeout: float = 10) -> bool:
    """Whether a Prefect API is healthy at the URL."""
    return is_well(urljoin(url, "/api/health"), timeout)


def supervise(workspace: Path, port: int) -> None:
    """Run the server until no client is left; a server that dies before is started again at the same address."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    folder = _folder(workspace)
    url = f"http://127.0.0.1:{port}/api"
    server = _serve(port)
    try:
        while not answers(url, timeout=2):
            if server.poll() is not None:
                sys.exit(f"the server exited with {server.returncode} at its start")
            time.sleep(_POLL_S)
        myself = psutil.Process()
        write_json(folder / "server.json", {"url": url, "pid": myself.pid, "started": myself.create_time()})
        with (folder / "clients.lock").open("a") as clients:
            while not _is_alone(clients.fileno()):
                if server.poll() is not None:
                    print(f"the server exited with {server.returncode}: starting it again", flush=True)
                    server = _serve(port)
                time.sleep(_POLL_S)
            (folder / "server.json").unlink(missing_ok=True)
            _stop(server)
    finally:
        _stop(server)


def _serve(port: int) -> subprocess.Popen[bytes]:
    app = ["--factory", "prefect.server.api.server:create_app"]
    address = ["--host", "127.0.0.1", "--port", str(port), "--timeout-keep-alive", "5"]
    return subprocess.Popen(
        [sys.executable, "-m", "uvicorn", *app, *address, "--log-level", "error", "--lifespan", "on"],
        env={name: value for name, value in os.environ.items() if name != "PREFECT_API_URL"},
        preexec_fn=die_with_parent,  # noqa: PLW1509 - the supervisor has one thread
    )


def _stop(server: subprocess.Popen[bytes]) -> None:
    server.terminate()
    try:
        server.wait(timeout=5)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()


def _is_alone(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


if __name__ == "__main__":
    supervise(Path(sys.argv[1]), int(sys.argv[2]))
