"""`gtr demo`: the arms ppo, turbo_sft and turbo_kl from one warm start, side by side on this machine."""

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from flows.compare import print_table, write_report
from flows.journal import read_progress
from flows.models import CONFIGS
from flows.processes import PARENT
from flows.runs import RECORD, Run, open_run, workspace
from gtr_core.compose import load_experiment
from gtr_core.errors import UserError
from gtr_core.files import read_json

LINES_EVERY_S = 20.0  # where the output is a file or a pipe: bars are for terminals
ARMS = ("cards3_ppo.yaml", "cards3_sft.yaml", "cards3_kl.yaml")


@dataclass
class Arm:
    """One run of the comparison and the process that computes it."""

    run: Run
    command: list[str]
    process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> Path:
        """What the process printed."""
        return self.run.directory / "output.log"


def run_demo(overrides: Sequence[str], *, seeds: int, jobs: int) -> dict[str, Any]:
    """Run every arm, `jobs` at a time, then print the table and write the report.

    Raises:
        UserError: an arm failed; says which, why and how to go on.
    """
    home, console = workspace(), Console(stderr=True)
    arms = [_arm(home, name, [f"seed={seed}", *overrides]) for seed in range(1, seeds + 1) for name in ARMS]
    todo = [arm for arm in arms if not _complete(arm)]
    if todo:
        _compute(todo, jobs, console)
    else:
        console.print("Every stage is there already: nothing to compute.")
    runs = [arm.run for arm in arms]
    page = write_report(runs, home / "report.html")
    print_table(runs)
    link = _mlflow_link(runs)
    console.print(f"Report   {page}", markup=False, soft_wrap=True, highlight=False)
    console.print(f"MLflow   run `gtr ui`, then open {link}", markup=False, soft_wrap=True, highlight=False)
    records = [read_json(run.directory / RECORD) for run in runs]
    return {"runs": records, "report": str(page), "mlflow": link}


def _arm(home: Path, name: str, overrides: list[str]) -> Arm:
    config = CONFIGS / "experiment" / name
    run = open_run(load_experiment(config, overrides), home)
    return Arm(run, [sys.executable, "-m", "flows.cli", "run", str(config), *overrides])


def _complete(arm: Arm) -> bool:
    """Whether the run has ended and all its stages are still in the store."""
    path = arm.run.directory / RECORD
    if not path.is_file():
        return False
    stages = read_json(path)["stages"]
    store = arm.run.workspace / "store"
    return all((store / s["stage"] / s["key"] / "stage.json").is_file() for s in stages)


def _compute(todo: list[Arm], jobs: int, console: Console) -> None:
    from flows.server import prefect_server

    environment = os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    waiting = list(todo)
    running: list[Arm] = []
    with ExitStack() as stack:
        with console.status("Starting Prefect's server and MLflow's store"):
            stack.enter_context(prefect_server(todo[0].run.workspace))
            environment |= {"PREFECT_API_URL": os.environ["PREFECT_API_URL"], PARENT: str(os.getpid())}
        stack.callback(_stop, todo)
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
        rows = {arm.run.key: bars.add_task(arm.run.name, total=1.0, where="waiting", left="") for arm in todo}
        told = time.monotonic()
        while waiting or running:
            while waiting and len(running) < jobs:
                running.append(_start(waiting.pop(0), environment))
            for arm in todo:
                _show(bars, rows[arm.run.key], arm)
            if not console.is_terminal and time.monotonic() > told + LINES_EVERY_S:
                told = time.monotonic()
                for arm in running:
                    progress = read_progress(arm.run.directory)
                    console.print(f"{arm.run.name}: {progress} {progress.left}", markup=False, highlight=False)
            for arm in [a for a in running if a.process is not None and a.process.poll() is not None]:
                running.remove(arm)
                _check(arm)
            time.sleep(0.5)


def _start(arm: Arm, environment: dict[str, str]) -> Arm:
    with arm.log.open("ab") as log:
        arm.process = subprocess.Popen(arm.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment)
    return arm


def _show(bars: Progress, row: TaskID, arm: Arm) -> None:
    if arm.process is None:
        return
    progress = read_progress(arm.run.directory)
    completed = (progress.done + progress.fraction) / max(1, progress.total)
    bars.update(row, completed=completed, where=str(progress), left=progress.left)


def _check(arm: Arm) -> None:
    assert arm.process is not None
    if arm.process.returncode == 0:
        return
    lines = [line for line in arm.log.read_text(errors="replace").splitlines() if line.strip()]
    last = lines[-1] if lines else f"exit code {arm.process.returncode}"
    raise UserError(
        f"the arm {arm.run.name} failed: {last} (all of it is in {arm.log}); "
        "`gtr demo` again goes on from the last finished stage."
    )


def _stop(arms: list[Arm]) -> None:
    for arm in arms:
        if arm.process is not None and arm.process.poll() is None:
            arm.process.terminate()
    for arm in arms:
        if arm.process is not None:
            arm.process.wait()


def _mlflow_link(runs: list[Run]) -> str:
    from tasks.links import charts_link
    from tasks.tracking import Tracker

    tracker = Tracker.reopen(runs[0].workspace, runs[0].key)
    return charts_link("http://127.0.0.1:5000", tracker.experiment_id or "0")
