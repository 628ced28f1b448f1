"""The paper's loop, stage by stage. Read it from top to bottom."""

from collections.abc import Callable
from typing import Any, Protocol

from flows.runs import Run
from gtr_core.config import Experiment
from tasks.best import evaluate_best
from tasks.evaluate import Evaluation, Model, evaluate
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

    def judge(name: str, experiment: Experiment, k: int, who: str, model: Model, split: str) -> StageRecord:
        return stage(f"evaluate-{name}", evaluate, store, start, Evaluation(experiment, k, who, model, split))

    if final.evaluation.controls:
        judge("0-start", first, 0, "start", None, "valid")
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
            curve.append(judge(f"{k}-agent", experiment, k, "agent", agent, "valid"))
            if merged:
                judge(f"{k}-teacher", experiment, k, "teacher", teacher, "valid")
            if experiment.evaluation.controls:
                judge(f"{k}-mean", experiment, k, "mean", list(updates), "valid")
    last = final.iterations
    average = stage("mean", mean, store, final, last, start, updates)
    judge("final-start", final, 0, "start", None, "test")
    ended = judge("final-agent", final, last, "agent", agent, "test")
    if candidates:
        stage("evaluate-final-best", evaluate_best, store, final, start, candidates, curve, ended)
    if teacher is not None:
        judge("final-teacher", final, last, "teacher", teacher, "test")
    judge("final-mean", final, last, "mean", average, "test")


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
