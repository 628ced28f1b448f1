"""The cells of a sweep on the workers of a Dask or Ray cluster: each a process of its own, beside its worker."""

import os
import socket
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prefect import flow
from rich.console import Console

from flows.orchestration.processes import PARENT
from flows.orchestration.server import prefect_server
from flows.orchestration.task_runners import workers
from flows.runs.events import read_progress
from flows.runs.run import Run
from flows.sweeps.local import why_it_failed
from gtr_core.config import ExecutionConfig
from gtr_core.util.errors import UserError


@dataclass(frozen=True)
class WorkedCell:
    """A cell that a worker has run to its end."""

    run: Run
    error: str | None  # the signal that ended it, or its last line; None when it did not fail
    failed_stage: str  # the stage that it failed at; empty when it did not come to the first

    @property
    def log(self) -> Path:
        """What its process printed, in all attempts."""
        return log_of(self.run)


def run_on_workers(
    sweep: str, cells: Sequence[tuple[Run, str, Sequence[str]]], execution: ExecutionConfig, console: Console
) -> list[WorkedCell]:
    """Run every cell (run, label, command line) as a task of a flow run named after the sweep.

    The workers need this project and this workspace at the same places: a cluster of this machine, or a shared file
    system. A cell plays its own shards, if it has any, in its own process.

    Raises:
        UserError: the runner's extra is not installed, the Prefect server did not start, a worker has no workspace.
    """
    home = cells[0][0].workspace

    def submit_all() -> list[WorkedCell]:
        with workers(execution) as submit:
            futures = [
                submit(label, _run_cell, command=list(command), log=str(log_of(run)), settings=settings)
                for run, label, command in cells
            ]
            ended = []
            for (run, label, _), future in zip(cells, futures, strict=True):
                pid, code = future.result()
                progress, error = read_progress(run.directory), why_it_failed(code, log_of(run))
                ended.append(WorkedCell(run, error, progress.current if progress.pid == pid else ""))
                console.print(f"{label}: {error or 'done'}", markup=False, highlight=False)
            return ended

    with prefect_server(home) as url:
        settings = {"GTR_HOME": str(home), "PREFECT_API_URL": url, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
        shown: Any = flow(name="sweep", flow_run_name=sweep, validate_parameters=False, persist_result=False)(
            submit_all
        )
        found: list[WorkedCell] = shown()
    return found


def log_of(run: Run) -> Path:
    """Where a cell's process prints."""
    return run.directory / "output.log"


def _run_cell(command: list[str], log: str, settings: dict[str, str]) -> tuple[int, int]:
    """On a worker: the process id and the exit code of the cell's process, which ends with the worker."""
    folder = Path(log).parent
    if not folder.is_dir():
        raise UserError(f"{socket.gethostname()} has no {folder}: the workers of a sweep share its workspace.")
    environment = {**os.environ, **settings, PARENT: str(os.getpid())}
    with Path(log).open("ab") as output:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment)
        return process.pid, process.wait()
