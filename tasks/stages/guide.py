"""Stage `guide`: a teacher looks at what the agent did."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path

from gtr_core.config import Experiment
from gtr_core.config.loading import to_dict
from gtr_core.guidance.base import Case, Guidance, guidance_of
from gtr_core.rollout.types import Rollout
from tasks.stages.model_cache import loaded_model
from tasks.store.contents import model_settings, training_settings
from tasks.store.results import Guided, Merged, Played, Started, Updated
from tasks.store.stage import Stage


def guide(
    experiment: Experiment,
    iteration: int,
    start: Started,
    played: Played,
    agent: Updated | None,
    teacher: Merged | None,
) -> Stage[Guided]:
    """The penalty or the examples of one rollout, as the method's guidance has it.

    Args:
        experiment: the configuration, of a method that is guided.
        iteration: of the rollout.
        start: the warm start.
        played: the rollout.
        agent: the update whose agent played it; None for the start.
        teacher: the newest merge; None before the first: then the start teaches (PAPER.md 1.4, invariant 10).
    """
    guidance = _guidance(experiment)
    return Stage(
        Guided,
        compute=partial(_compute, experiment, iteration),
        inputs={
            "start": start,
            "rollout": played,
            "agent": agent,
            "teacher": teacher if guidance.merged_teacher else None,
        },
        config={
            "guidance": experiment.guidance,
            "settings": guidance.asked,
            "sampling": to_dict(experiment.sampling),
            "env": training_settings(experiment.env),
            "model": model_settings(experiment.model),
        },
        seed=experiment.seed,
        iteration=iteration,
        implementations=(experiment.guidance, *guidance.implementations),
    )


def _compute(
    experiment: Experiment,
    iteration: int,
    directory: Path,
    start: Started,
    rollout: Played,
    agent: Updated | None,
    teacher: Merged | None,
) -> Mapping[str, float]:
    case = Case(
        iteration,
        Rollout.load(rollout.directory),
        agent=lambda: loaded_model(start, experiment).agent(agent),
        start=lambda: loaded_model(start, experiment).agent(None),
        teacher=lambda: loaded_model(start, experiment).teacher(teacher),
        workspace=start.workspace,
    )
    steps = iteration * experiment.rollout.envs * experiment.rollout.turns
    return {**_guidance(experiment).compute(case, directory), "env_steps": float(steps)}


def _guidance(experiment: Experiment) -> Guidance:
    guidance = guidance_of(experiment)
    if guidance is None:
        raise ValueError(f"{experiment.method} has no guidance")
    return guidance
