"""Runs side by side, each in a process of its own, with a progress bar for each."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from flows.orchestration.processes import GRACE_S, PARENT
from flows.runs.events import read_progress
from flows.runs.run import Run
from gtr_core.config import Experiment

LINES_EVERY_S = 20.0  # where the output is a file or a pipe: bars are for terminals


@dataclass
class RunProcess:
    """One run and the process that computes it."""

    run: Run
    label: str
    command: list[str]
    popen: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> Path:
        """What the process printed, in all attempts."""
        return self.run.directory / "output.log"

    @property
    def error(self) -> str | None:
        """Why the process failed: the signal that ended it, or its last line; None when it did not."""
        return None if self.popen is None else why_it_failed(self.popen.returncode, self.log)

    @property
    def failed_stage(self) -> str:
        """The stage that the failed process was at; empty when it did not come to the first."""
        progress = read_progress(self.run.directory)
        return progress.current if self.popen is not None and progress.pid == self.popen.pid else ""


def why_it_failed(code: int | None, log: Path) -> str | None:
    """The signal that ended a process, or the last line it logged; None where it has not failed."""
    if not code:
        return None
    if code < 0:
        return f"ended by {signal.Signals(-code).name}"
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1] if lines else f"exit code {code}"


def jobs_for(experiment: Experiment) -> int:
    """How many runs this machine computes at once, unless told: one a GPU, or what its cores have threads for."""
    import torch

    from gtr_core.agent.loading import pick_device

    if pick_device(experiment.model.device).type == "cuda":
        return torch.cuda.device_count()
    return max(1, (os.cpu_count() or 1) // experiment.execution.threads)


def compute(processes: Sequence[RunProcess], jobs: int, console: Console, ended: Callable[[RunProcess], None]) -> None:
    """Run every process, `jobs` at a time; `ended` is called with each, and what it raises stops the others."""
    from flows.orchestration.server import prefect_server

    environment = os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    waiting = list(processes)
    running: list[RunProcess] = []
    with ExitStack() as stack:
        with console.status("Starting Prefect's server and MLflow's store"):
            stack.enter_context(prefect_server(processes[0].run.workspace))
            environment |= {"PREFECT_API_URL": os.environ["PREFECT_API_URL"], PARENT: str(os.getpid())}
        stack.callback(_stop, processes)
        bars = stack.enter_context(
            Progress(
                TextColumn("{task.description:<22}"),
                BarColumn(bar_width=24),
                TextColumn("{task.fields[where]:<26}"),
                TimeElapsedColumn(),
                TextColumn("{task.fields[left]}"),
                console=console,
            )
        )
        rows = {
            process.run.key: bars.add_task(process.label, total=1.0, where="waiting", left="") for process in processes
        }
        told = time.monotonic()
        while waiting or running:
            while waiting and len(running) < jobs:
                running.append(_start(waiting.pop(0), environment))
            for process in processes:
                _show(bars, rows[process.run.key], process)
            if not console.is_terminal and time.monotonic() > told + LINES_EVERY_S:
                told = time.monotonic()
                for process in running:
                    progress = read_progress(process.run.directory)
                    console.print(f"{process.label}: {progress} {progress.left}", markup=False, highlight=False)
            for process in [a for a in running if a.popen is not None and a.popen.poll() is not None]:
                running.remove(process)
                ended(process)
            time.sleep(0.5)


def _start(process: RunProcess, environment: dict[str, str]) -> RunProcess:
    with process.log.open("ab") as log:
        process.popen = subprocess.Popen(
            process.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment
        )
    return process


def _show(bars: Progress, row: TaskID, process: RunProcess) -> None:
    if process.popen is None:
        return
    if process.error:
        bars.update(row, where=f"failed at {process.failed_stage or 'its start'}", left="")
        return
    progress = read_progress(process.run.directory)
    completed = (progress.done + progress.fraction) / max(1, progress.total)
    bars.update(row, completed=completed, where=str(progress), left=progress.left)


def _stop(processes: Sequence[RunProcess]) -> None:
    for process in processes:
        if process.popen is not None and process.popen.poll() is None:
            process.popen.terminate()
    until = time.monotonic() + GRACE_S
    for process in processes:
        if process.popen is not None:
            try:
                process.popen.wait(timeout=max(0.0, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.popen.kill()
                process.popen.wait()
