"""A run as one Prefect flow run: each stage a task, told to the journal and delivered to MLflow."""

import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from prefect import flow
from prefect.context import FlowRunContext

from flows.experiment import loop
from flows.journal import Journal, read_progress
from flows.runners import SideBySide, side_by_side
from flows.runs import Run
from tasks.evaluate import evaluate, evaluate_parts
from tasks.record import Part, StageRecord
from tasks.registry import Kind
from tasks.rollout import rollout, rollout_parts
from tasks.stage import stage_task
from tasks.store import StageStore
from tasks.tracking import Tracker

DIVIDED: dict[Callable[..., StageRecord], Callable[..., list[Part]]] = {
    rollout: rollout_parts,
    evaluate: evaluate_parts,
}
MODELS: dict[str, Kind] = {"update": "agent", "merge": "teacher"}  # stages whose output is a model


def run_experiment(run: Run, store: StageStore, tracker: Tracker, stages: Sequence[str]) -> list[StageRecord]:
    """Run, or resume, a whole experiment, whose stages' names are given; the stages' records in order.

    It is a flow run of its own, or belongs to the one that calls it: a deployment's.
    """

    with side_by_side(run.experiment.execution) as spread:
        performer = _Performer(run, tracker, stages, spread)

        def body() -> list[StageRecord]:
            loop(run, store, performer, performer.report)
            return performer.records

        if FlowRunContext.get() is not None:
            return body()
        named = flow(name="experiment", flow_run_name=run.name, validate_parameters=False, persist_result=False)
        shown: Callable[..., list[StageRecord]] = named(body)
        return shown()


class _Performer:
    """Runs a stage as a Prefect task, tells the journal, and delivers its record to MLflow."""

    def __init__(self, run: Run, tracker: Tracker, stages: Sequence[str], spread: SideBySide) -> None:
        self.journal, self.tracker, self.run, self.spread = Journal(run.directory), tracker, run, spread
        self.records: list[StageRecord] = []
        self.journal.write("plan", stages=list(stages))

    def __call__(self, name: str, function: Callable[..., StageRecord], *arguments: Any) -> StageRecord:
        self.journal.write("start", stage=name)
        record = stage_task(name, partial(self._compute, name, function, *arguments))
        self.records.append(record)
        model = record.inputs.get("model")
        self.tracker.deliver(record, evaluates=next((r for r in self.records if r.key == model), None))
        if kind := MODELS.get(record.stage):
            self._register(record, kind)
        where = {"of": record.stage, "key": record.key}
        self.journal.write("end", stage=name, state=record.state, seconds=record.seconds, **where)
        progress = read_progress(self.run.directory)
        done = f"{progress.done}/{progress.total}"
        print(f"{done:>9} {name:<24} {record.state:<6} {record.seconds:6.1f} s  {progress.left}", file=sys.stderr)
        return record

    def _compute(self, name: str, function: Callable[..., StageRecord], *arguments: Any) -> StageRecord:
        """The stage; its parts come first, side by side, where it is divided and not there yet."""
        execution = self.run.experiment.execution
        if function in DIVIDED and (execution.task_runner, execution.workers) != ("threads", 1):
            store, *rest = arguments
            parts = DIVIDED[function](*arguments)
            if parts and function(store.planning(), *rest).state == "planned":
                self.spread(name, parts)
        return function(*arguments)

    def report(self, done: int, total: int) -> None:
        """A long stage tells how far it is."""
        if done % 10 == 0:
            self.journal.write("step", fraction=done / total)

    def _register(self, record: StageRecord, kind: Kind) -> None:
        experiment = self.run.at(record.iteration or 1)
        merge = experiment.merge
        how = {"merge": merge.method, "density": merge.density, "weights": merge.weights} if kind == "teacher" else {}
        self.tracker.register_model(
            record,
            kind=kind,
            name=f"gtr-{kind}-{self.run.experiment.name}",
            directory=record.directory / kind,
            step=int(record.metrics["env_steps"]),
            tags={"gtr.method": experiment.method, **{f"gtr.{k}": str(v) for k, v in how.items()}},
            members=record.inputs.get("members", ()),
        )
