"""Four processes that log at once to one PostgreSQL database lose nothing."""

import os
import pwd
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from .test_server_away import everything_is_there, writers

pytestmark = pytest.mark.slow


def programs() -> Path | None:
    """The folder of PostgreSQL's programs, which Debian keeps off the PATH."""
    found = [Path(p).parent for p in [shutil.which("initdb")] if p]
    found += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((folder for folder in found if (folder / "initdb").exists()), None)


@pytest.fixture
def database() -> Iterator[str]:
    """A server of our own on loopback, for this test alone; it does not run as root, so neither does it here."""
    folder = programs()
    if folder is None:
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    if find_spec("psycopg2") is None:
        pytest.skip("psycopg2 is not installed: pip install -e '.[dev]'")
    user = pwd.getpwnam("postgres") if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())
    home = Path(tempfile.mkdtemp(prefix="gtr-postgres-"))  # not in pytest's folder, which is closed to other users
    os.chown(home, user.pw_uid, user.pw_gid)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]

    def pg(*command: str) -> None:
        ids = {"user": user.pw_uid, "group": user.pw_gid} if os.geteuid() == 0 else {}
        subprocess.run(command, check=True, cwd=home, stdout=subprocess.DEVNULL, **ids)  # type: ignore[call-overload]

    data, options = str(home / "data"), f"-h 127.0.0.1 -p {port} -k {home} -c fsync=off"
    pg(str(folder / "initdb"), "-D", data, "-A", "trust", "-U", "gtr")
    pg(str(folder / "pg_ctl"), "-D", data, "-o", options, "-l", str(home / "log"), "-w", "start")
    try:
        yield f"postgresql+psycopg2://gtr@127.0.0.1:{port}/postgres"
    finally:
        pg(str(folder / "pg_ctl"), "-D", data, "-m", "immediate", "stop")
        shutil.rmtree(home)


def test_four_runs_at_once_lose_nothing(tmp_path: Path, database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", database)
    assert [writer.wait(timeout=400) for writer in writers(sys.executable, tmp_path)] == [0, 0, 0, 0]
    everything_is_there(database)
