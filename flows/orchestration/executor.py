"""A run as one Prefect flow run: each stage a task, told to the journal and delivered to MLflow."""

import logging
from collections.abc import Callable, Sequence
from concurrent import futures
from concurrent.futures import Future
from functools import partial
from typing import Any, cast

from prefect import flow
from prefect.context import FlowRunContext

from flows.experiment import loop
from flows.orchestration.artifacts import ProgressBar, link_to_mlflow
from flows.orchestration.overlap import BackgroundExecutor, background_executor
from flows.orchestration.publish import publish_stage
from flows.orchestration.stage_task import shown
from flows.orchestration.task_runners import SideBySide, side_by_side
from flows.runs.events import Journal, read_progress
from flows.runs.run import Run
from flows.runs.warnings import warnings_of
from flows.say import say
from tasks.execution.slots import Slots
from tasks.execution.stage_process import Compute, stages_run
from tasks.store.contents import looked_at_once
from tasks.store.record import StageRecord
from tasks.store.stage import R, Stage
from tasks.store.store import StageStore
from tasks.tracking.tracker import Tracker


def run_experiment(
    run: Run, store: StageStore, slots: Slots, tracker: Tracker, stages: Sequence[str]
) -> list[StageRecord]:
    """Run, or resume, a whole experiment, whose stages' names are given; the stages' records in order.

    It is a flow run of its own, or belongs to the one that calls it: a deployment's.
    """
    body = partial(_run_stages, run, store, slots, tracker, stages)
    if FlowRunContext.get() is not None:
        return body()
    for name in ("prefect.task_runs", "prefect.flow_runs"):
        logging.getLogger(name).propagate = False  # what a run raises is told once, by who called for the run
    return experiment.with_options(flow_run_name=run.name)(body)


@flow(name="experiment", validate_parameters=False, persist_result=False)
def experiment(body: Callable[[], list[StageRecord]]) -> list[StageRecord]:
    """The flow run of one experiment."""
    return body()


def _run_stages(
    run: Run, store: StageStore, slots: Slots, tracker: Tracker, stages: Sequence[str]
) -> list[StageRecord]:
    link_to_mlflow(run, tracker)
    execution = run.experiment.execution
    with (
        side_by_side(execution) as spread,
        stages_run(execution) as compute,
        background_executor(execution) as background,
        looked_at_once(),
    ):
        executor = Executor(run, store, slots, tracker, stages, compute, spread, background)
        loop(run, executor, executor.journal.step)
        return executor.finish()


class Executor:
    """Finds or computes each stage of a run: beside the training, in parts, in a process of its own, or here.

    Each is a Prefect task run, an entry of the journal, and what MLflow is told.
    """

    def __init__(
        self,
        run: Run,
        store: StageStore,
        slots: Slots,
        tracker: Tracker,
        stages: Sequence[str],
        compute: Compute,
        spread: SideBySide,
        background: BackgroundExecutor | None,
    ) -> None:
        self.run, self.store, self.slots, self.tracker = run, store, slots, tracker
        self.journal, self.bar, self.stages = Journal(run.directory), ProgressBar(run), stages
        self.compute, self.spread, self.background = compute, spread, background
        self.records: dict[str, StageRecord] = {}  # by name, in the order of their ends
        self.overlapping: dict[str, Future[Any]] = {}
        self.warned: set[str] = set()
        self.journal.write("plan", stages=list(stages))

    def __call__(self, stage: Stage[R]) -> R:
        """The result of the stage, found or computed."""
        self._collect()
        self.journal.write("start", stage=stage.name)
        return self._report(stage.name, shown(stage, partial(self._obtain, stage)))

    def overlap(self, stage: Stage[R]) -> Callable[[], R]:
        """The stage in the background where there is room; what is in the store already needs none."""
        future = None
        if self.background is not None and self.store.plan(stage).state == "planned":
            future = self.background.submit(self.store, stage, self.slots)
        if future is None:
            self(stage)
        else:
            self.journal.write("start", stage=stage.name)
            self.overlapping[stage.name] = future
        return lambda: cast(R, self._await(stage.name))

    def finish(self) -> list[StageRecord]:
        """All records, in the order of the plan, once the background stages have ended."""
        return [self._await(name) for name in self.stages]

    def _obtain(self, stage: Stage[R]) -> R:
        execution = self.run.experiment.execution
        found = self.store.find(stage)
        if found is not None:
            return found
        if stage.parts and (execution.task_runner, execution.workers) != ("threads", 1):
            self.spread(self.store, stage, self.slots)
        return cast(R, self.compute(self.store, stage, self.slots))

    def _await(self, name: str) -> StageRecord:
        if name in self.overlapping:
            futures.wait([self.overlapping[name]])
            self._collect()
        return self.records[name]

    def _collect(self) -> None:
        """Report the background stages that have ended; what went wrong there ends the run here."""
        for name in [name for name, future in self.overlapping.items() if future.done()]:
            future = self.overlapping.pop(name)
            if future.exception() is not None:
                self.journal.write("start", stage=name)  # what failed is, in a journal, the last that started
            self._report(name, future.result())

    def _report(self, name: str, record: R) -> R:
        self.records[name] = record
        records = list(self.records.values())
        with self.tracker.together():
            publish_stage(self.tracker, self.run, record, records)
        where = {"of": record.stage, "key": record.key}
        self.journal.write("end", stage=name, state=record.state, seconds=record.seconds, **where)
        progress = read_progress(self.run.directory)
        self.bar.report(len(records) / len(self.stages))
        done = f"{progress.done}/{progress.total}"
        say(f"{done:>9} {name:<24} {record.state:<6} {record.seconds:6.1f} s  {progress.left}")
        self._warn(records)
        return record

    def _warn(self, records: Sequence[StageRecord]) -> None:
        """Say what has gone wrong since the last stage, each thing once."""
        for warning in warnings_of(records, self.run.experiment):
            if warning.rule not in self.warned:
                self.warned.add(warning.rule)
                self.journal.write("warning", rule=warning.rule, text=str(warning))
                say(f"  WARNING {warning}")
