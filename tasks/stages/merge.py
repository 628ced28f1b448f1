"""Stages `merge` (the teacher) and `mean` (the plain average, a control): a merge of the agent's checkpoints."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from torch import Tensor

from gtr_core.agent.checkpoint import Card, save_teacher
from gtr_core.config import Experiment, MergeConfig
from gtr_core.config.choices import load
from gtr_core.config.loading import to_dict
from gtr_core.deltas.read import read_deltas
from gtr_core.envs.episodes import episode_set
from gtr_core.evaluation.metrics import summarise
from gtr_core.evaluation.play import play
from gtr_core.merge.combine import teacher_tensors
from gtr_core.merge.statistics import MergeStatistics
from gtr_core.merge.weights import full_buffer_weights, incremental_weights, sma
from tasks.stages.model_cache import LoadedModel, card_settings, loaded_model
from tasks.store.contents import environment_implementations, evaluation_settings, model_settings
from tasks.store.results import Averaged, Merged, Started, Updated
from tasks.store.stage import Stage


def merge(
    experiment: Experiment,
    iteration: int,
    start: Started,
    updates: Sequence[Updated],
    last: Merged | None = None,
) -> Stage[Merged]:
    """The teacher for the next iteration, relative to the start (PAPER.md 1.4).

    Args:
        experiment: the configuration.
        iteration: of the newest update.
        start: the warm start.
        updates: all of them so far, oldest first.
        last: the last teacher; None at the first merge.
    """
    config = experiment.merge
    members: Sequence[Updated | Merged]
    if config.mode == "full_buffer":
        members = updates[-config.window :]  # all of them where the window is 0
        weights = full_buffer_weights(config, len(members))
    else:
        merges = iteration // config.interval
        if (merges > 1) != (last is not None):
            raise ValueError(f"merge number {merges} needs the last teacher exactly where there is one")
        members = [updates[-1]] if last is None else [last, updates[-1]]
        weights = incremental_weights(config, merges)
    return Stage(
        Merged,
        compute=partial(_compute, experiment, iteration, config, weights),
        inputs={"start": start, "members": members, "last": last},
        config=_settings(experiment, config, weights),
        seed=experiment.seed,
        iteration=iteration,
        implementations=_implementations(experiment, config),
    )


def mean(experiment: Experiment, iteration: int, start: Started, updates: Sequence[Updated]) -> Stage[Averaged]:
    """The plain average of all checkpoints: what of a teacher's strength is averaging alone."""
    weights = sma(len(updates))
    config = MergeConfig(method="linear", form=experiment.merge.form, rank=experiment.merge.rank)
    return Stage(
        Averaged,
        compute=partial(_compute, experiment, iteration, config, weights),
        inputs={"start": start, "members": updates},
        config=_settings(experiment, config, weights),
        seed=experiment.seed,
        iteration=iteration,
        implementations=_implementations(experiment, config),
        label="mean",
    )


def _settings(experiment: Experiment, config: MergeConfig, weights: Sequence[float]) -> dict[str, object]:
    settings: dict[str, object] = {
        "merge": {name: value for name, value in to_dict(config).items() if name != "interval"},
        "weights": list(weights),
        "model": model_settings(experiment.model),
    }
    if not config.chosen.select:
        return settings
    return settings | {
        "episodes": experiment.evaluation.curve_episodes,
        "set_seed": experiment.evaluation.set_seed,
        "batch_size": experiment.rollout.batch_size,
        "env": evaluation_settings(experiment.env, "valid"),
        "sampling": to_dict(experiment.sampling),
    }


def _implementations(experiment: Experiment, config: MergeConfig) -> tuple[str, ...]:
    """The method's module; where it chooses members by episodes, what chooses and what is played too."""
    method = config.chosen
    if not method.select:
        return (method.merge,)
    return (method.merge, method.select, *environment_implementations(experiment.env))


def _compute(
    experiment: Experiment,
    iteration: int,
    config: MergeConfig,
    weights: Sequence[float],
    directory: Path,
    start: Started,
    members: Sequence[Updated | Merged],
    last: Merged | None = None,
) -> dict[str, float]:
    """Write the teacher. Raises MergeError when it did not change although the agent did."""
    loaded = loaded_model(start, experiment)
    deltas: Sequence[Mapping[str, Tensor]] = [read_deltas(record.model_directory, loaded.start) for record in members]
    if config.chosen.select:
        deltas = load(config.chosen.select)(deltas, partial(_success, loaded, experiment, iteration, config))
        weights = sma(len(deltas))
    statistics = MergeStatistics()
    teacher = teacher_tensors(
        loaded.start,
        deltas,
        weights,
        config,
        seed=experiment.seed,
        last=loaded.teacher(last),
        statistics=statistics,
    )
    card = Card("teacher", "dense", start.key, iteration, **card_settings(experiment))
    lost = save_teacher(teacher, loaded.start, card, config, directory / "teacher")
    if not config.chosen.select:  # one that chooses may rightly leave the newest checkpoint out
        statistics.require_change()
    steps = iteration * experiment.rollout.envs * experiment.rollout.turns
    return statistics.result() | {"merge/form_error": lost, "env_steps": float(steps)}


def _success(
    loaded: LoadedModel,
    experiment: Experiment,
    iteration: int,
    config: MergeConfig,
    members: Sequence[Mapping[str, Tensor]],
) -> float:
    """Greedy success of the members' mean on the validation episodes of the curves."""
    settings = experiment.evaluation
    episodes = episode_set(
        experiment.env.id, dict(experiment.env.kwargs), "valid", settings.curve_episodes, settings.set_seed, iteration
    )
    weights = dict(teacher_tensors(loaded.start, members, sma(len(members)), config, seed=experiment.seed))
    with loaded.policy.swapped(weights, adapters=False):
        played = play(loaded.policy, episodes, greedy=True, batch_size=experiment.rollout.batch_size)
    return summarise(played)["success_rate"]
