"""A run's cost in MLflow as it goes: how many hours, tokens and dollars each checkpoint has taken."""

from collections.abc import Sequence
from pathlib import Path

from flows.reporting.costs import experiment_cost
from flows.runs.run import Run
from gtr_core.evaluation.cost import TRAINING, StageUse
from tasks.store.metrics import METRICS, STEP, MetricWriter
from tasks.store.record import StageRecord


def spending(run: Run, records: Sequence[StageRecord]) -> Path:
    """A folder with metrics: what training had cost when the last of `records`, an update, was done.

    The start and the evaluations are not in it, so that a chart of success against cost sets methods side by side. The
    lines are written once, into the run's folder: told again, they are the same lines.
    """
    update = records[-1]
    directory = run.directory / "spending" / update.key
    if not (directory / METRICS).exists():
        directory.mkdir(parents=True, exist_ok=True)
        cost = experiment_cost(run.at(update.iteration or 1), [_use(r) for r in records if r.stage in TRAINING])
        MetricWriter(directory).log(cost.metrics(), step=int(update.metrics[STEP]))
    return directory


def _use(record: StageRecord) -> StageUse:
    return StageUse(record.stage, record.seconds, record.device, record.metrics)
