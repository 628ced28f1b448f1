"""`gtr sweep`: the cells of a sweep side by side on this machine, and what became of each."""

import shlex
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from flows.launch import open_tracker
from flows.orchestration.artifacts import table_of
from flows.orchestration.server import prefect_server
from flows.reporting.comparison import compare
from flows.reporting.finished import Finished
from flows.reporting.report import write_report
from flows.reporting.selection import Selection, check_sets
from flows.reporting.words import show, written
from flows.runs.run import RECORD, is_complete, join_sweep, open_run, workspace
from flows.runs.sweep_spec import Cell, cells, read_sweep
from flows.say import say
from flows.sweeps.local import RunProcess, compute, jobs_for
from gtr_core.util.errors import UserError
from gtr_core.util.files import read_json


def run_sweep(path: Path, overrides: Sequence[str], *, jobs: int | None) -> dict[str, Any]:
    """Run every cell that is not complete, `jobs` at a time, print what became of each, and return that.

    A cell that fails does not stop the others. Cells share what stages they can: the first to want one computes it.
    """
    home, sweep, console = workspace(), read_sweep(path), Console(stderr=True)
    found = cells(sweep, home, overrides)
    for cell in found:
        open_run(cell.run.experiment, home)
        join_sweep(cell.run, sweep.name, cell.label)
    complete = [cell for cell in found if is_complete(cell.run)]
    for cell in complete:
        open_tracker(cell.run, running=False)  # its tags say that it belongs here too
    missing = [cell for cell in found if cell not in complete]
    with ExitStack() as stack:
        ended: dict[str, RunProcess] = {}
        if missing:
            stack.enter_context(prefect_server(home))  # kept up until it has the comparison as well
            ended = {cell.run.key: RunProcess(cell.run, cell.label, _command(cell)) for cell in missing}
            compute(list(ended.values()), jobs or jobs_for(found[0].run.experiment), console, lambda process: None)
        else:
            console.print("Every stage is there already: nothing to compute.")
        outcomes = [_outcome(cell, ended.get(cell.run.key)) for cell in found]
        link = comparison_link(found[0], sweep.name)
        _print(sweep.name, outcomes, link)
        page = _compare(sweep.name, found, home, artifact=bool(missing))
    return {"sweep": sweep.name, "cells": outcomes, "mlflow": link, "report": page}


def _compare(name: str, found: Sequence[Cell], home: Path, *, artifact: bool) -> str | None:
    """Print how the finished cells compare, and keep it: report and tables in the workspace, a table in Prefect."""
    runs = [Finished(cell.run) for cell in found if (cell.run.directory / RECORD).is_file()]
    missing = [f"{cell.label} (not finished)" for cell in found if not (cell.run.directory / RECORD).is_file()]
    if not runs:
        return None
    try:
        check_sets(runs)
        comparison = compare(Selection(name, runs, missing))
    except UserError as error:  # of a sweep over the evaluation itself, say: its runs are there all the same
        say(f"No comparison: {error}", result=True)
        return None
    folder = home / "sweeps" / name
    page = write_report(comparison, folder / "report.html")
    (folder / "comparison.csv").write_text(written(comparison, "csv"))
    if artifact:
        table_of(name, comparison)
    show(comparison)
    say(f"Report   {page}", result=True)
    return str(page)


def _command(cell: Cell) -> list[str]:
    return [sys.executable, "-m", "flows.cli", *cell.command]


def comparison_link(cell: Cell, sweep: str) -> str:
    """MLflow's charts of the sweep's runs, those included that are cells of other sweeps too."""
    from tasks.tracking.links import UI, charts_link
    from tasks.tracking.tracker import Tracker

    experiment = Tracker.reopen(cell.run.workspace, cell.run.key).experiment_id
    return charts_link(UI, experiment or "0", f"tags.`gtr.sweep.{sweep}` LIKE '%'")


def _outcome(cell: Cell, process: RunProcess | None) -> dict[str, Any]:
    """`complete` (nothing was to be done), `finished` or `failed`, with what one wants to know then."""
    facts = {"cell": cell.label, "run": cell.run.key, "retry": shlex.join(["gtr", *cell.command])}
    if process is not None and process.error:
        where = {"stage": process.failed_stage or "start-up", "error": process.error, "log": str(process.log)}
        return facts | {"state": "failed"} | where
    record = read_json(cell.run.directory / RECORD)
    return facts | {
        "state": "complete" if process is None else "finished",
        "seconds": sum(s["seconds"] for s in record["stages"]),
        "agent": record["metrics"].get("final_agent/sampled_success_rate"),
        "teacher": record["metrics"].get("final_teacher/sampled_success_rate"),
    }


def _print(name: str, outcomes: Sequence[dict[str, Any]], link: str) -> None:
    console = Console()
    table = Table("cell", "state", "agent", "teacher", "seconds", title=f"Sweep {name}: success, sampled, held out")
    for o in outcomes:
        figures = (f"{o[k]:.3f}" if o.get(k) is not None else "" for k in ("agent", "teacher"))
        table.add_row(o["cell"], o["state"], *figures, f"{o['seconds']:.0f}" if "seconds" in o else "")
    console.print(table)
    for o in outcomes:
        if o["state"] == "failed":
            for line in (f"{o['cell']} failed at {o['stage']}: {o['error']}", f"  log    {o['log']}"):
                say(line, result=True)
            say(f"  retry  {o['retry']}", result=True)
    say(f"MLflow   run `gtr ui`, then open {link}", result=True)
