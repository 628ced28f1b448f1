"""`gtr ui`: MLflow's and Prefect's pages on loopback, until Ctrl-C."""

import signal
import subprocess
import sys

from rich.console import Console

from flows.runs import workspace
from flows.server import prefect_server
from tasks.mlflow_store import connect, tracking_uri


def serve(port: int) -> None:
    """Start both and wait. Their processes end with this one."""
    home = workspace()
    home.mkdir(parents=True, exist_ok=True)
    connect(home)
    uri = tracking_uri(home)
    console = Console()
    with prefect_server(home) as api:
        command = [sys.executable, "-m", "mlflow", "ui", "--host", "127.0.0.1", "--port", str(port)]
        command += ["--backend-store-uri", uri, "--default-artifact-root", (home / "mlartifacts").as_uri()]
        server = subprocess.Popen(command)
        console.print(f"MLflow   http://127.0.0.1:{port}/#/experiments?workflowType=machine_learning", markup=False)
        console.print(f"Prefect  {api.removesuffix('/api')}", markup=False)
        console.print("Ctrl-C ends both.", markup=False)
        try:
            signal.sigwait({signal.SIGINT, signal.SIGTERM})
        finally:
            server.terminate()
            server.wait()
