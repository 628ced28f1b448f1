"""`gtr report`: the page that compares finished runs, written to a file and kept with each of its MLflow runs."""

from collections.abc import Sequence
from pathlib import Path

from flows.reporting.comparison import Comparison, compare
from flows.reporting.page import render
from flows.reporting.selection import select
from flows.runs import workspace
from tasks.tracking import Tracker


def report_runs(texts: Sequence[str], *, by: Sequence[str], finished_only: bool, out: Path) -> Path:
    """Write the page of runs and sweeps; see `select` and `compare` for what is refused."""
    return write_report(compare(select(texts, workspace(), finished_only=finished_only), by), out)


def write_report(found: Comparison, out: Path) -> Path:
    """Write the page of a comparison; its absolute path."""
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(render(found))
    for run in found.selection.runs:
        Tracker.reopen(run.run.workspace, run.name).log_artifact(out)
    return out.absolute()
