"""`gtr ui`: MLflow's and Prefect's pages on loopback, until Ctrl-C."""

import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from flows.orchestration.health import is_well
from flows.orchestration.processes import die_with_parent
from flows.orchestration.server import prefect_server
from flows.runs.run import workspace
from flows.say import say
from gtr_core.util.errors import UserError
from tasks.tracking.connection import connect, tracking_uri

START_S = 120.0


def serve(port: int) -> None:
    """Start both and wait; their processes end with this one.

    A tracking server of one's own (MLFLOW_TRACKING_URI=http://…) has its own page, which is named.

    Raises:
        UserError: the port is taken, or MLflow's server does not start.
    """
    home = workspace()
    home.mkdir(parents=True, exist_ok=True)
    uri = tracking_uri(home)
    with prefect_server(home) as api:
        if uri.startswith("http"):
            server, address = None, uri
        else:
            connect(home)
            server, address = _start(home, uri, port), f"http://127.0.0.1:{port}"
        say(f"MLflow   {address.rstrip('/')}/#/experiments?workflowType=machine_learning", result=True)
        say(f"Prefect  {api.removesuffix('/api')}", result=True)
        say("Ctrl-C ends both.", result=True)
        try:
            signal.pause() if server is None else server.wait()
        except KeyboardInterrupt:
            return
        finally:
            if server is not None:
                server.terminate()
                server.wait()
    raise UserError(f"MLflow's server ended by itself: its last words are in {home / 'mlflow-ui.log'}.")


def _start(home: Path, uri: str, port: int) -> subprocess.Popen[bytes]:
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", port)) == 0:
            raise UserError(f"Port {port} is in use: name another, for example `gtr ui --port {port + 1}`.")
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", uri, "--default-artifact-root", (home / "mlartifacts").as_uri()]
    with (home / "mlflow-ui.log").open("wb") as log:
        server = subprocess.Popen(
            command,
            stdout=log,
            stderr=log,
            preexec_fn=die_with_parent,  # noqa: PLW1509 - no threads here
        )
    until = time.monotonic() + START_S
    while time.monotonic() < until and server.poll() is None:
        if is_well(f"http://127.0.0.1:{port}/health", timeout=2):
            return server
        time.sleep(0.2)
    server.terminate()
    raise UserError(f"MLflow's server did not start: its last words are in {home / 'mlflow-ui.log'}.")
