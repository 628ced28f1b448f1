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
class Arm:
    """One run and the process that computes it."""

    run: Run
    label: str
    command: list[str]
    process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> Path:
        """What the process printed, in all attempts."""
        return self.run.directory / "output.log"

    @property
    def error(self) -> str | None:
        """Why the process failed: the signal that ended it, or its last line; None when it did not."""
        return None if self.process is None else why_it_failed(self.process.returncode, self.log)

    @property
    def failed_stage(self) -> str:
        """The stage that the failed process was at; empty when it did not come to the first."""
        progress = read_progress(self.run.directory)
        return progress.current if self.process is not None and progress.pid == self.process.pid else ""


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


def compute(arms: Sequence[Arm], jobs: int, console: Console, ended: Callable[[Arm], None]) -> None:
    """Run every arm's process, `jobs` at a time; `ended` hears of each, and what it raises stops the others."""
    from flows.orchestration.server import prefect_server

    environment = os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    waiting = list(arms)
    running: list[Arm] = []
    with ExitStack() as stack:
        with console.status("Starting Prefect's server and MLflow's store"):
            stack.enter_context(prefect_server(arms[0].run.workspace))
            environment |= {"PREFECT_API_URL": os.environ["PREFECT_API_URL"], PARENT: str(os.getpid())}
        stack.callback(_stop, arms)
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
        rows = {arm.run.key: bars.add_task(arm.label, total=1.0, where="waiting", left="") for arm in arms}
        told = time.monotonic()
        while waiting or running:
            while waiting and len(running) < jobs:
                running.append(_start(waiting.pop(0), environment))
            for arm in arms:
                _show(bars, rows[arm.run.key], arm)
            if not console.is_terminal and time.monotonic() > told + LINES_EVERY_S:
                told = time.monotonic()
                for arm in running:
                    progress = read_progress(arm.run.directory)
                    console.print(f"{arm.label}: {progress} {progress.left}", markup=False, highlight=False)
            for arm in [a for a in running if a.process is not None and a.process.poll() is not None]:
                running.remove(arm)
                ended(arm)
            time.sleep(0.5)


def _start(arm: Arm, environment: dict[str, str]) -> Arm:
    with arm.log.open("ab") as log:
        arm.process = subprocess.Popen(arm.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment)
    return arm


def _show(bars: Progress, row: TaskID, arm: Arm) -> None:
    if arm.process is None:
        return
    if arm.error:
        bars.update(row, where=f"failed at {arm.failed_stage or 'its start'}", left="")
        return
    progress = read_progress(arm.run.directory)
    completed = (progress.done + progress.fraction) / max(1, progress.total)
    bars.update(row, completed=completed, where=str(progress), left=progress.left)


def _stop(arms: Sequence[Arm]) -> None:
    for arm in arms:
        if arm.process is not None and arm.process.poll() is None:
            arm.process.terminate()
    until = time.monotonic() + GRACE_S
    for arm in arms:
        if arm.process is not None:
            try:
                arm.process.wait(timeout=max(0.0, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                arm.process.kill()
                arm.process.wait()
