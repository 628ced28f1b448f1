"""A run as one Prefect flow run: each stage a task, told to the journal and delivered to MLflow."""

import logging
import sys
from collections.abc import Callable, Sequence
from concurrent import futures
from concurrent.futures import Future
from functools import partial
from typing import Any

from prefect import flow
from prefect.context import FlowRunContext

from flows.experiment import loop
from flows.orchestration.artifacts import ProgressBar, link_to_mlflow
from flows.orchestration.overlap import SecondLine, second_line
from flows.orchestration.publish import publish
from flows.orchestration.task_runners import SideBySide, side_by_side
from flows.runs.events import Journal, read_progress
from flows.runs.run import Run
from flows.runs.warnings import warnings_of
from tasks.execution.stage_process import Compute, stages_run
from tasks.stages.evaluate import evaluate, evaluate_parts
from tasks.stages.rollout import rollout, rollout_parts
from tasks.store.contents import looked_at_once
from tasks.store.record import Part, StageRecord
from tasks.store.stage import stage_task
from tasks.store.store import StageStore
from tasks.tracking.tracker import Tracker

DIVIDED: dict[Callable[..., StageRecord], Callable[..., list[Part]]] = {
    rollout: rollout_parts,
    evaluate: evaluate_parts,
}


def run_experiment(run: Run, store: StageStore, tracker: Tracker, stages: Sequence[str]) -> list[StageRecord]:
    """Run, or resume, a whole experiment, whose stages' names are given; the stages' records in order.

    It is a flow run of its own, or belongs to the one that calls it: a deployment's.
    """

    def body() -> list[StageRecord]:
        link_to_mlflow(run, tracker)
        execution = run.experiment.execution
        with side_by_side(execution) as spread, stages_run(execution) as compute, second_line(execution) as second:
            performer = _Performer(run, tracker, stages, compute, spread, second)
            with looked_at_once():
                loop(run, store, performer, performer.journal.step)
            return performer.finish()

    if FlowRunContext.get() is not None:
        return body()
    for name in ("prefect.task_runs", "prefect.flow_runs"):
        logging.getLogger(name).propagate = False  # what a run raises is told once, by who called for the run
    named = flow(name="experiment", flow_run_name=run.name, validate_parameters=False, persist_result=False)
    shown: Callable[..., list[StageRecord]] = named(body)
    return shown()


class _Performer:
    """Runs a stage as a Prefect task, tells the journal, and delivers its record to MLflow."""

    def __init__(
        self,
        run: Run,
        tracker: Tracker,
        stages: Sequence[str],
        compute: Compute,
        spread: SideBySide,
        second: SecondLine | None,
    ) -> None:
        self.journal, self.tracker, self.run = Journal(run.directory), tracker, run
        self.compute, self.spread, self.second = compute, spread, second
        self.bar, self.stages = ProgressBar(run), stages
        self.records: dict[str, StageRecord] = {}  # by name, in the order of their ends
        self.beside_now: dict[str, Future[StageRecord]] = {}
        self.warned: set[str] = set()
        self.journal.write("plan", stages=list(stages))

    def __call__(self, name: str, function: Callable[..., StageRecord], *arguments: Any) -> StageRecord:
        self._hear()
        self.journal.write("start", stage=name)
        return self._tell(name, stage_task(name, partial(self._compute, name, function, *arguments)))

    def beside(
        self, name: str, function: Callable[..., StageRecord], store: StageStore, *arguments: Any
    ) -> Callable[[], StageRecord]:
        """The stage in the second line where that takes it; what is in the store already needs no line."""
        future = None
        if self.second is not None and function(store.planning(), *arguments).state == "planned":
            future = self.second.submit(name, function, store, *arguments)
        if future is None:
            self(name, function, store, *arguments)
        else:
            self.journal.write("start", stage=name)
            self.beside_now[name] = future
        return partial(self._await, name)

    def finish(self) -> list[StageRecord]:
        """All records, in the order of the plan, once the second line has ended."""
        return [self._await(name) for name in self.stages]

    def _await(self, name: str) -> StageRecord:
        if name in self.beside_now:
            futures.wait([self.beside_now[name]])
            self._hear()
        return self.records[name]

    def _hear(self) -> None:
        """Tell of the stages that have ended in the second line; what went wrong there ends the run here."""
        for name in [name for name, future in self.beside_now.items() if future.done()]:
            future = self.beside_now.pop(name)
            if future.exception() is not None:
                self.journal.write("start", stage=name)  # what failed is, in a journal, the last that started
            self._tell(name, future.result())

    def _tell(self, name: str, record: StageRecord) -> StageRecord:
        self.records[name] = record
        records = list(self.records.values())
        with self.tracker.together():
            publish(self.tracker, self.run, record, records)
        where = {"of": record.stage, "key": record.key}
        self.journal.write("end", stage=name, state=record.state, seconds=record.seconds, **where)
        progress = read_progress(self.run.directory)
        self.bar.tell(len(records) / len(self.stages))
        done = f"{progress.done}/{progress.total}"
        print(f"{done:>9} {name:<24} {record.state:<6} {record.seconds:6.1f} s  {progress.left}", file=sys.stderr)
        self._warn(records)
        return record

    def _compute(
        self, name: str, function: Callable[..., StageRecord], store: StageStore, *arguments: Any
    ) -> StageRecord:
        """The stage; its parts come first, side by side, where it is divided and not there yet."""
        execution = self.run.experiment.execution
        if function in DIVIDED and (execution.task_runner, execution.workers) != ("threads", 1):
            parts = DIVIDED[function](store, *arguments)
            if parts and function(store.planning(), *arguments).state == "planned":
                self.spread(name, parts)
        return self.compute(function, store, *arguments)

    def _warn(self, records: Sequence[StageRecord]) -> None:
        """Say what has gone wrong since the last stage, each thing once."""
        for trouble in warnings_of(records, self.run.experiment):
            if trouble.rule not in self.warned:
                self.warned.add(trouble.rule)
                self.journal.write("warning", rule=trouble.rule, text=str(trouble))
                print(f"  WARNING {trouble}", file=sys.stderr)
