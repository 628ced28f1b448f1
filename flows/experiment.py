"""The paper's loop, stage by stage. Read it from top to bottom."""

from collections.abc import Callable
from typing import Any, Protocol

from flows.runs.run import Run
from gtr_core.config import Experiment
from tasks.stages.evaluate import Evaluation, ModelRecords, evaluate
from tasks.stages.evaluate_best import evaluate_best
from tasks.stages.guide import guide
from tasks.stages.merge import mean, merge
from tasks.stages.rollout import rollout
from tasks.stages.update import update
from tasks.stages.warm_start import Report, nobody, warm_start
from tasks.store.contents import looked_at_once
from tasks.store.record import StageRecord
from tasks.store.results import Evaluated, Guided, Merged, Played, Updated
from tasks.store.stage import R, Stage
from tasks.store.store import StageStore


class Execute(Protocol):
    """Turns the description of a stage into its result: by computing it, by finding it, or by planning it."""

    def __call__(self, stage: Stage[R]) -> R:
        """The result of the stage."""
        ...

    def overlap(self, stage: Stage[R]) -> Callable[[], R]:
        """The same for a stage that may be computed while the next ones are; the call waits for it if need be."""
        ...


def loop(described: Run, run: Execute, report: Report = nobody) -> None:
    """Every stage of a run in order; `report` hears how far a long one is."""
    first, final = described.at(1), described.experiment
    start = run(warm_start(first, report))
    agent: Updated | None = None
    teacher: Merged | None = None
    rollouts: list[Played] = []
    guides: list[Guided] = []
    updates: list[Updated] = []
    candidates: list[Updated] = []
    curve: list[Callable[[], Evaluated]] = []
    method = first.method

    def validate(experiment: Experiment, k: int, who: str, model: ModelRecords) -> Callable[[], Evaluated]:
        return run.overlap(evaluate(start, Evaluation(experiment, k, who, model, "valid")))

    def test(k: int, who: str, model: ModelRecords) -> Evaluated:
        return run(evaluate(start, Evaluation(final, k, who, model, "test")))

    if final.evaluation.controls:
        validate(first, 0, "start", None)
    for k in range(1, final.iterations + 1):
        experiment = described.at(k)
        if experiment.method != method:  # a fork: what guided another method cannot guide this one
            method, guides = experiment.method, []
        played = run(rollout(experiment, k, start, agent))
        rollouts.append(played)
        if experiment.guidance:
            guides.append(run(guide(experiment, k, start, played, agent, teacher)))
        agent = run(update(experiment, k, start, agent, rollouts, guides, updates))
        updates.append(agent)
        merged = k % experiment.merge.interval == 0
        if merged:
            teacher = run(merge(experiment, k, start, updates, teacher))
        if k % experiment.evaluation.every == 0:
            candidates.append(agent)
            curve.append(validate(experiment, k, "agent", agent))
            if merged:
                validate(experiment, k, "teacher", teacher)
            if experiment.evaluation.controls:
                validate(experiment, k, "mean", list(updates))
    last = final.iterations
    average = run(mean(final, last, start, updates))
    test(0, "start", None)
    ended = test(last, "agent", agent)
    if candidates:
        run(evaluate_best(final, start, candidates, [point() for point in curve], ended))
    if teacher is not None:
        test(last, "teacher", teacher)
    test(last, "mean", average)


class Plan:
    """The loop as a store would have it, nothing computed: every stage and its record by name, in order.

    A key is made of keys, not of files, so the whole of it is known before anything is computed. A record is `reused`
    where the store has the stage, else `planned`.
    """

    def __init__(self, described: Run, store: StageStore) -> None:
        self.store = store
        self.stages: dict[str, Stage[Any]] = {}
        self.records: dict[str, StageRecord] = {}
        with looked_at_once():
            loop(described, self)

    def __call__(self, stage: Stage[R]) -> R:
        """Note what the stage would be."""
        record = self.store.plan(stage)
        self.stages[stage.name], self.records[stage.name] = stage, record
        return record

    def overlap(self, stage: Stage[R]) -> Callable[[], R]:
        """The same: a plan computes nothing."""
        record = self(stage)
        return lambda: record


def plan(described: Run, store: StageStore) -> dict[str, StageRecord]:
    """The records of a run's plan by stage name, in order."""
    return Plan(described, store).records
