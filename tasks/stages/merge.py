"""Stages `merge` (the teacher) and `mean` (the plain average, a control): a merge of the agent's checkpoints."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from torch import Tensor

from gtr_core.agent.checkpoint import Card, save_teacher
from gtr_core.config import Experiment, MergeConfig
from gtr_core.config.loading import to_dict
from gtr_core.envs.episodes import episode_set
from gtr_core.evaluation.metrics import summarise
from gtr_core.evaluation.play import play
from gtr_core.merge import (
    MergeStatistics,
    full_buffer_weights,
    greedy_soup,
    incremental_weights,
    read_deltas,
    sma,
    teacher_tensors,
)
from tasks.stages.model_cache import Workbench, card_settings, workbench
from tasks.store.contents import environment_modules, evaluation_settings, model_settings
from tasks.store.fingerprint import code_files, code_version
from tasks.store.record import StageRecord
from tasks.store.stage import run_stage
from tasks.store.store import StageStore


def merge(
    store: StageStore,
    experiment: Experiment,
    iteration: int,
    start: StageRecord,
    updates: Sequence[StageRecord],
    last: StageRecord | None = None,
) -> StageRecord:
    """The teacher for the next iteration, relative to the start (PAPER.md 1.4).

    Args:
        store: where stages live.
        experiment: the configuration.
        iteration: of the newest update.
        start: the warm start.
        updates: all of them so far, oldest first.
        last: the last teacher; None at the first merge.

    Raises:
        MergeError: the teacher did not change although the agent did.
    """
    config = experiment.merge
    if config.mode == "full_buffer":
        members = list(updates[-config.window :])  # all of them where the window is 0
        weights = full_buffer_weights(config, len(members))
    else:
        merges = iteration // config.interval
        if (merges > 1) != (last is not None):
            raise ValueError(f"merge number {merges} needs the last teacher exactly where there is one")
        members = [updates[-1]] if last is None else [last, updates[-1]]
        weights = incremental_weights(config, merges)
    return _merge(store, experiment, "merge", iteration, start, members, weights, config, last)


def mean(
    store: StageStore, experiment: Experiment, iteration: int, start: StageRecord, updates: Sequence[StageRecord]
) -> StageRecord:
    """The plain average of all checkpoints: what of a teacher's strength is averaging alone."""
    weights = sma(len(updates))
    config = MergeConfig(method="linear", form=experiment.merge.form, rank=experiment.merge.rank)
    return _merge(store, experiment, "mean", iteration, start, updates, weights, config, None)


def _merge(
    store: StageStore,
    experiment: Experiment,
    stage: str,
    iteration: int,
    start: StageRecord,
    members: Sequence[StageRecord],
    weights: Sequence[float],
    config: MergeConfig,
    last: StageRecord | None,
) -> StageRecord:
    def compute(directory: Path) -> dict[str, float]:
        bench = workbench(start, experiment)
        deltas: Sequence[Mapping[str, Tensor]] = [read_deltas(_weights_of(record), bench.start) for record in members]
        how, shares = config, weights
        if config.method == "greedy_soup":
            how = replace(config, method="linear")
            deltas = greedy_soup(deltas, lambda some: _success(bench, experiment, iteration, some, how))
            shares = sma(len(deltas))
        statistics = MergeStatistics()
        teacher = teacher_tensors(
            bench.start,
            deltas,
            shares,
            how,
            seed=experiment.seed,
            last=bench.teacher(last),
            statistics=statistics,
        )
        card = Card("teacher", "dense", start.key, iteration, **card_settings(experiment))
        lost = save_teacher(teacher, bench.start, card, config, directory / "teacher")
        if config.method != "greedy_soup":  # which may rightly leave the newest checkpoint out
            statistics.require_change()
        steps = iteration * experiment.rollout.envs * experiment.rollout.turns
        return statistics.result() | {"merge/form_error": lost, "env_steps": float(steps)}

    settings = to_dict(config)
    settings.pop("interval")
    played = environment_modules(experiment.env) if config.method == "greedy_soup" else ()
    return run_stage(
        store,
        stage=stage,
        iteration=iteration,
        inputs={"start": start, "members": list(members), "last": last},
        config={
            "merge": settings,
            "weights": list(weights),
            "model": model_settings(experiment.model),
            **(_validation(experiment) if config.method == "greedy_soup" else {}),
        },
        code=code_version(__name__, *played),
        sources=code_files(__name__, *played),
        seed=experiment.seed,
        compute=compute,
    )


def _weights_of(record: StageRecord) -> Path:
    """The directory of a stage's weights: a teacher's, or an update's agent."""
    return record.directory / ("teacher" if record.stage == "merge" else "agent")


def _success(
    bench: Workbench,
    experiment: Experiment,
    iteration: int,
    members: Sequence[Mapping[str, Tensor]],
    config: MergeConfig,
) -> float:
    """Greedy success of the members' mean on the validation episodes of the curves."""
    settings = experiment.evaluation
    episodes = episode_set(
        experiment.env.id, dict(experiment.env.kwargs), "valid", settings.curve_episodes, settings.set_seed, iteration
    )
    weights = dict(teacher_tensors(bench.start, members, sma(len(members)), config, seed=experiment.seed))
    with bench.policy.swapped(weights, adapters=False):
        played = play(bench.policy, episodes, greedy=True, batch_size=experiment.rollout.batch_size)
    return summarise(played)["success_rate"]


def _validation(experiment: Experiment) -> dict[str, object]:
    """What `_success` depends on."""
    settings = experiment.evaluation
    return {
        "episodes": settings.curve_episodes,
        "set_seed": settings.set_seed,
        "batch_size": experiment.rollout.batch_size,
        "env": evaluation_settings(experiment.env, "valid"),
        "sampling": to_dict(experiment.sampling),
    }
