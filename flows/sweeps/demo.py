"""`gtr demo`: the arms ppo, turbo_sft and turbo_kl from one warm start, side by side on this machine."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from flows.models.resolve import CONFIGS
from flows.reporting.comparison import compare
from flows.reporting.finished import Finished
from flows.reporting.report import write_report
from flows.reporting.selection import Selection
from flows.reporting.words import show
from flows.runs.run import RECORD, Run, is_complete, open_run, workspace
from flows.say import say
from flows.sweeps.local import RunProcess, compute
from gtr_core.config.loading import load_experiment
from gtr_core.util.errors import UserError
from gtr_core.util.files import read_json

ARMS = ("cards3_ppo.yaml", "cards3_sft.yaml", "cards3_kl.yaml")


def run_demo(overrides: Sequence[str], *, seeds: int, jobs: int) -> dict[str, Any]:
    """Run every arm, `jobs` at a time, then print the table and write the report.

    Raises:
        UserError: an arm failed; says which, why and how to go on.
    """
    home, console = workspace(), Console(stderr=True)
    arms = [_arm(home, name, [f"seed={seed}", *overrides]) for seed in range(1, seeds + 1) for name in ARMS]
    missing = [arm for arm in arms if not is_complete(arm.run)]
    if missing:
        compute(missing, jobs, console, _check)
    else:
        console.print("Every stage is there already: nothing to compute.")
    runs = [arm.run for arm in arms]
    found = compare(Selection("ppo, turbo_sft and turbo_kl", [Finished(run) for run in runs]))
    page = write_report(found, home / "report.html")
    show(found)
    link = _mlflow_link(runs)
    say(f"Report   {page}")
    say(f"MLflow   run `gtr ui`, then open {link}")
    records = [read_json(run.directory / RECORD) for run in runs]
    return {"runs": records, "report": str(page), "mlflow": link}


def _arm(home: Path, name: str, overrides: list[str]) -> RunProcess:
    config = CONFIGS / "experiment" / name
    run = open_run(load_experiment(config, overrides), home)
    return RunProcess(run, run.name, [sys.executable, "-m", "flows.cli", "run", str(config), *overrides])


def _check(arm: RunProcess) -> None:
    if arm.error:
        raise UserError(
            f"the arm {arm.run.name} failed: {arm.error} (all of it is in {arm.log}); "
            "`gtr demo` again goes on from the last finished stage."
        )


def _mlflow_link(runs: list[Run]) -> str:
    from tasks.tracking.links import UI, charts_link
    from tasks.tracking.tracker import Tracker

    tracker = Tracker.reopen(runs[0].workspace, runs[0].key)
    return charts_link(UI, tracker.experiment_id or "0")
