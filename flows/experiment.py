"""The paper's loop, stage by stage. Read it from top to bottom."""

from collections.abc import Callable
from typing import Any, Protocol

from flows.runs import Run
from tasks.best import evaluate_best
from tasks.evaluate import evaluate
from tasks.guide import guide, in_buffer
from tasks.merge import mean, merge
from tasks.record import StageRecord
from tasks.rollout import rollout
from tasks.store import PlanningStore, StageStore
from tasks.update import update
from tasks.warm_start import Report, warm_start


class Perform(Protocol):
    """Has a stage function give its record, under a readable name."""

    def __call__(self, name: str, function: Callable[..., StageRecord], *arguments: Any) -> StageRecord:
        """`function(*arguments)`, and whatever telling of it there is to do."""


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
    curve: list[StageRecord] = []
    method = first.method
    if final.evaluation.controls:
        stage("evaluate-0-start", evaluate, store, first, 0, start, "start", None, "valid")
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
            curve.append(stage(f"evaluate-{k}-agent", evaluate, store, experiment, k, start, "agent", agent, "valid"))
            if merged:
                stage(f"evaluate-{k}-teacher", evaluate, store, experiment, k, start, "teacher", teacher, "valid")
            if experiment.evaluation.controls:
                stage(f"evaluate-{k}-mean", evaluate, store, experiment, k, start, "mean", list(updates), "valid")
    last = final.iterations
    average = stage("mean", mean, store, final, last, start, updates)
    stage("evaluate-final-start", evaluate, store, final, 0, start, "start", None, "test")
    ended = stage("evaluate-final-agent", evaluate, store, final, last, start, "agent", agent, "test")
    if candidates:
        stage("evaluate-final-best", evaluate_best, store, final, start, candidates, curve, ended)
    if teacher is not None:
        stage("evaluate-final-teacher", evaluate, store, final, last, start, "teacher", teacher, "test")
    stage("evaluate-final-mean", evaluate, store, final, last, start, "mean", average, "test")


def plan(run: Run, store: PlanningStore) -> dict[str, StageRecord]:
    """The stages of a run by name, in order: `reused` where the store has them, else `planned`.

    A key is made of keys, not of files, so the whole of it is known before anything is computed.
    """
    stages: dict[str, StageRecord] = {}

    def note(name: str, function: Callable[..., StageRecord], *arguments: Any) -> StageRecord:
        stages[name] = function(*arguments)
        return stages[name]

    loop(run, store, note, lambda done, total: None)
    return stages
