"""The paper's loop, stage by stage. Read it from top to bottom."""

from collections.abc import Callable
from typing import Any, Protocol

from flows.runs.run import Run
from gtr_core.config import Experiment
from tasks.stages.evaluate import Evaluation, Model, evaluate
from tasks.stages.evaluate_best import evaluate_best
from tasks.stages.guide import guide, in_buffer
from tasks.stages.merge import mean, merge
from tasks.stages.rollout import rollout
from tasks.stages.update import update
from tasks.stages.warm_start import Report, warm_start
from tasks.store.contents import looked_at_once
from tasks.store.record import StageRecord
from tasks.store.store import PlanningStore, StageStore

Awaited = Callable[[], StageRecord]  # waits for a record if need be


class Perform(Protocol):
    """Has a stage function give its record, under a readable name."""

    def __call__(self, name: str, function: Callable[..., StageRecord], *arguments: Any) -> StageRecord:
        """`function(*arguments)`, and whatever telling of it there is to do."""

    def beside(self, name: str, function: Callable[..., StageRecord], *arguments: Any) -> Awaited:
        """The same for a stage that may be computed while the next ones are."""


def loop(run: Run, store: StageStore, stage: Perform, report: Report) -> None:
    """Every stage of a run in order; `report` hears how far a long one is."""
    first, final = run.at(1), run.experiment
    start = stage("warm_start", warm_start, store, first, report)
    agent: StageRecord | None = None
    teacher: StageRecord | None = None
    rollouts: list[StageRecord] = []
    guides: list[StageRecord] = []
    updates: list[StageRecord] = []
    candidates: list[StageRecord] = []
    curve: list[Awaited] = []
    method = first.method

    def validate(name: str, experiment: Experiment, k: int, who: str, model: Model) -> Awaited:
        return stage.beside(f"evaluate-{name}", evaluate, store, start, Evaluation(experiment, k, who, model, "valid"))

    def test(who: str, k: int, model: Model) -> StageRecord:
        return stage(f"evaluate-final-{who}", evaluate, store, start, Evaluation(final, k, who, model, "test"))

    if final.evaluation.controls:
        validate("0-start", first, 0, "start", None)
    for k in range(1, final.iterations + 1):
        experiment = run.at(k)
        if experiment.method != method:  # a fork: what guided another method cannot guide this one
            method, guides = experiment.method, []
        rollouts.append(stage(f"rollout-{k}", rollout, store, experiment, k, start, agent))
        if experiment.guide != "none":
            guides.append(stage(f"guide-{k}", guide, store, experiment, k, start, rollouts[-1], teacher))
        agent = stage(
            f"update-{k}", update, store, experiment, k, start, agent, rollouts, in_buffer(experiment, guides), updates
        )
        updates.append(agent)
        merged = k % experiment.merge.interval == 0
        if merged:
            teacher = stage(f"merge-{k}", merge, store, experiment, k, start, updates, teacher)
        if k % experiment.evaluation.every == 0:
            candidates.append(agent)
            curve.append(validate(f"{k}-agent", experiment, k, "agent", agent))
            if merged:
                validate(f"{k}-teacher", experiment, k, "teacher", teacher)
            if experiment.evaluation.controls:
                validate(f"{k}-mean", experiment, k, "mean", list(updates))
    last = final.iterations
    average = stage("mean", mean, store, final, last, start, updates)
    test("start", 0, None)
    ended = test("agent", last, agent)
    if candidates:
        validated = [point() for point in curve]
        stage("evaluate-final-best", evaluate_best, store, final, start, candidates, validated, ended)
    if teacher is not None:
        test("teacher", last, teacher)
    test("mean", last, average)


def plan(run: Run, store: PlanningStore) -> dict[str, StageRecord]:
    """The stages of a run by name, in order: `reused` where the store has them, else `planned`.

    A key is made of keys, not of files, so the whole of it is known before anything is computed.
    """
    note = _Note()
    with looked_at_once():
        loop(run, store, note, lambda done, total: None)
    return note.stages


class _Note:
    """Notes what each stage would be."""

    def __init__(self) -> None:
        self.stages: dict[str, StageRecord] = {}

    def __call__(self, name: str, function: Callable[..., StageRecord], *arguments: Any) -> StageRecord:
        self.stages[name] = function(*arguments)
        return self.stages[name]

    def beside(self, name: str, function: Callable[..., StageRecord], *arguments: Any) -> Awaited:
        record = self(name, function, *arguments)
        return lambda: record
