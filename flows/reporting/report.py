"""`gtr report`: the page that compares finished runs, written to a file and kept with each of its MLflow runs."""

from collections.abc import Sequence
from pathlib import Path

from flows.reporting.comparison import Comparison, compare
from flows.reporting.page import render
from flows.reporting.selection import select
from flows.runs.run import workspace
from tasks.tracking.links import UI, compare_link
from tasks.tracking.tracker import Tracker


def report_runs(texts: Sequence[str], *, by: Sequence[str], finished_only: bool, out: Path) -> Path:
    """Write the page of runs and sweeps; see `select` and `compare` for what is refused."""
    return write_report(compare(select(texts, workspace(), finished_only=finished_only), by), out)


def write_report(found: Comparison, out: Path) -> Path:
    """Write the page of a comparison; its absolute path."""
    trackers = [Tracker.reopen(run.run.workspace, run.name) for run in found.selection.runs]
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(render(found, _link(trackers)))
    for tracker in trackers:
        tracker.log_artifacts(out)
    return out.absolute()


def _link(trackers: Sequence[Tracker]) -> str:
    """MLflow's own comparison of the runs; empty while its server is away, or where they are of several experiments."""
    experiments = {tracker.experiment_id for tracker in trackers}
    ids = [tracker.run_id for tracker in trackers if tracker.run_id]
    experiment = experiments.pop() if len(experiments) == 1 else None
    return compare_link(UI, experiment, ids) if experiment and len(ids) == len(trackers) else ""
