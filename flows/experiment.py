"""One run as a Prefect flow: the paper's loop, stage by stage. Read it from top to bottom."""

import sys
from collections.abc import Callable
from functools import partial
from typing import Any

from prefect import flow

from flows.journal import Journal, plan, read_progress
from flows.runs import Run
from tasks.evaluate import evaluate
from tasks.guide import guide, in_buffer
from tasks.merge import mean, merge
from tasks.record import StageRecord
from tasks.registry import Kind
from tasks.rollout import rollout
from tasks.stage import stage_task
from tasks.store import StageStore
from tasks.tracking import Tracker
from tasks.update import update
from tasks.warm_start import warm_start

MODELS: dict[str, Kind] = {"update": "agent", "merge": "teacher"}  # stages whose output is a model


def run_experiment(run: Run, store: StageStore, tracker: Tracker) -> list[StageRecord]:
    """Run, or resume, a whole experiment as one Prefect flow run; its stages' records in order."""
    named = flow(name="experiment", flow_run_name=run.name, validate_parameters=False, persist_result=False)
    body: Callable[..., list[StageRecord]] = named(lambda: _experiment(run, store, tracker))
    return body()


def _experiment(run: Run, store: StageStore, tracker: Tracker) -> list[StageRecord]:
    experiment = run.experiment
    stage = _Stage(run, tracker)
    start = stage("warm_start", warm_start, store, experiment, stage.report)
    agent: StageRecord | None = None
    teacher: StageRecord | None = None
    rollouts: list[StageRecord] = []
    guides: list[StageRecord] = []
    updates: list[StageRecord] = []
    for k in range(1, experiment.iterations + 1):
        rollouts.append(stage(f"rollout-{k}", rollout, store, experiment, k, start, agent))
        if experiment.guide != "none":
            guides.append(stage(f"guide-{k}", guide, store, experiment, k, start, rollouts[-1], teacher))
        agent = stage(
            f"update-{k}", update, store, experiment, k, start, agent, rollouts, in_buffer(experiment, guides), updates
        )
        updates.append(agent)
        merged = k % experiment.merge.interval == 0
        if merged:
            teacher = stage(f"merge-{k}", merge, store, experiment, k, start, updates)
        if k % experiment.evaluation.every == 0:
            stage(f"evaluate-{k}-agent", evaluate, store, experiment, k, start, "agent", agent, "valid")
            if merged:
                stage(f"evaluate-{k}-teacher", evaluate, store, experiment, k, start, "teacher", teacher, "valid")
    last = experiment.iterations
    average = stage("mean", mean, store, experiment, last, start, updates)
    stage("evaluate-final-start", evaluate, store, experiment, 0, start, "start", None, "test")
    for who, model in (("agent", agent), ("teacher", teacher), ("mean", average)):
        if model is not None:
            stage(f"evaluate-final-{who}", evaluate, store, experiment, last, start, who, model, "test")
    return stage.records


class _Stage:
    """Runs a stage as a Prefect task, tells the journal, and delivers its record to MLflow."""

    def __init__(self, run: Run, tracker: Tracker) -> None:
        self.journal, self.tracker, self.run = Journal(run.directory), tracker, run
        self.records: list[StageRecord] = []
        self.journal.write("plan", stages=plan(run.experiment))

    def __call__(self, name: str, function: Callable[..., StageRecord], *arguments: Any) -> StageRecord:
        self.journal.write("start", stage=name)
        record = stage_task(name, partial(function, *arguments))
        self.records.append(record)
        model = record.inputs.get("model")
        self.tracker.deliver(record, evaluates=next((r for r in self.records if r.key == model), None))
        if kind := MODELS.get(record.stage):
            self._register(record, kind)
        self.journal.write("end", stage=name, state=record.state, seconds=record.seconds)
        progress = read_progress(self.run.directory)
        where = f"{progress.done}/{progress.total}"
        print(f"{where:>9} {name:<24} {record.state:<6} {record.seconds:6.1f} s  {progress.left}", file=sys.stderr)
        return record

    def report(self, done: int, total: int) -> None:
        """A long stage tells how far it is."""
        if done % 10 == 0:
            self.journal.write("step", fraction=done / total)

    def _register(self, record: StageRecord, kind: Kind) -> None:
        experiment, merge = self.run.experiment, self.run.experiment.merge
        how = {"merge": merge.method, "density": merge.density, "weights": merge.weights} if kind == "teacher" else {}
        self.tracker.register_model(
            record,
            kind=kind,
            name=f"gtr-{kind}-{experiment.name}",
            directory=record.directory / kind,
            step=int(record.metrics["env_steps"]),
            tags={"gtr.method": experiment.method, **{f"gtr.{k}": str(v) for k, v in how.items()}},
            members=record.inputs.get("members", ()),
        )
