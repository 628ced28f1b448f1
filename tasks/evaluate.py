"""Stage `evaluate`: agent, teacher, start or plain mean on the same fixed episodes."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor

from gtr_core.compose import to_dict
from gtr_core.config import Experiment, MergeConfig
from gtr_core.envs.episodes import EpisodeSet, episode_set
from gtr_core.evaluation.metrics import summarise
from gtr_core.evaluation.play import Episode, play
from gtr_core.merge import read_deltas, sma, teacher_tensors
from gtr_core.shards import shards
from tasks.code_version import code_files, code_version
from tasks.record import Part, StageRecord
from tasks.stage import run_stage
from tasks.store import StageStore
from tasks.workbench import Workbench, workbench

CURVE = (
    "success_rate",
    "return_mean",
    "valid_rate",
    "legal_rate",
    "thought_accuracy",
    "thought_distinct",
    "self_bleu_2",
    "distinct_2",
    "tokens_generated",
)
Model = StageRecord | Sequence[StageRecord] | None
Played = Mapping[str, list[Episode]]  # by mode


def evaluate(
    store: StageStore,
    experiment: Experiment,
    iteration: int,
    start: StageRecord,
    who: str,
    model: Model,
    split: str,
) -> StageRecord:
    """Play the fixed episodes of a split.

    Args:
        store: where stages live.
        experiment: the configuration.
        iteration: of the model; 0 for the start.
        start: the warm start.
        who: `agent`, `teacher`, `start` or `mean`; the prefix of the metrics.
        model: the update (agent) or merge (teacher, mean) that made it; None for the start; for a mean that no stage
            has stored, the updates that it is of.
        split: `valid` for a point of the curves (greedy), `test` for the final table (greedy and sampled).
    """

    def compute(directory: Path, *parts: StageRecord) -> dict[str, float]:
        listed = _listed(experiment, iteration, split)
        played: Played
        if parts:
            played = {mode: [e for p in parts for e in _read(p.directory / f"{mode}.jsonl")] for mode in _modes(split)}
        else:
            played = _play(workbench(start, experiment), experiment, who, model, split, listed)
        return _publish(directory, experiment, iteration, who, split, listed, played)

    return run_stage(
        store,
        stage="evaluate",
        iteration=iteration,
        inputs={"start": start, "model": model},
        config=evaluation_settings(experiment, who, split),
        code=code_version(__name__),
        sources=code_files(__name__),
        seed=experiment.seed,
        compute=compute,
        parts=evaluate_parts(store, experiment, iteration, start, who, model, split),
    )


def evaluate_parts(
    store: StageStore,
    experiment: Experiment,
    iteration: int,
    start: StageRecord,
    who: str,
    model: Model,
    split: str,
) -> list[Part]:
    """The stages that `evaluate` joins, a call each, which may come in any order and in any process; none if undivided.

    What they play does not depend on how many there are.
    """
    ranges = shards(_count(experiment, split), experiment.rollout.batch_size, experiment.execution.shards)
    if len(ranges) == 1:
        return []
    return [partial(_part, store, experiment, iteration, start, who, model, split, only) for only in ranges]


def _part(
    store: StageStore,
    experiment: Experiment,
    iteration: int,
    start: StageRecord,
    who: str,
    model: Model,
    split: str,
    only: range,
) -> StageRecord:
    def compute(directory: Path) -> dict[str, float]:
        bench = workbench(store.here(start), experiment)
        here = model and (store.here(model) if isinstance(model, StageRecord) else [store.here(m) for m in model])
        played = _play(bench, experiment, who, here, split, _listed(experiment, iteration, split), only)
        for mode, episodes in played.items():
            (directory / f"{mode}.jsonl").write_text("".join(json.dumps(asdict(e)) + "\n" for e in episodes))
        return {}

    return run_stage(
        store,
        stage="evaluate_part",
        iteration=iteration,
        inputs={"start": start, "model": model},
        config=evaluation_settings(experiment, who, split) | {"first": only.start, "count": len(only)},
        code=code_version(__name__),
        sources=code_files(__name__),
        seed=experiment.seed,
        compute=compute,
    )


def evaluation_settings(experiment: Experiment, who: str, split: str) -> dict[str, object]:
    """What an evaluation depends on besides its models: a part of its key."""
    return {
        "who": who,
        "split": split,
        "episodes": _count(experiment, split),
        "set_seed": experiment.evaluation.set_seed,
        "modes": list(_modes(split)),
        "batch_size": experiment.rollout.batch_size,
        "env": to_dict(experiment.env),
        "sampling": to_dict(experiment.sampling),
        "model": to_dict(experiment.model),
    }


def play_episodes(
    directory: Path,
    bench: Workbench,
    experiment: Experiment,
    iteration: int,
    who: str,
    model: Model,
    split: str,
) -> dict[str, float]:
    """Play and write one line an episode, `greedy.jsonl` and `sampled.jsonl`, in the set's order; the metrics."""
    listed = _listed(experiment, iteration, split)
    played = _play(bench, experiment, who, model, split, listed)
    return _publish(directory, experiment, iteration, who, split, listed, played)


def named(figures: Mapping[str, float], who: str, mode: str, split: str) -> dict[str, float]:
    """`agent/success_rate` for the curve; `final_agent/greedy_success_rate` for the table."""
    if split == "valid":
        return {f"{who}/{k}": figures[k] for k in CURVE if k in figures}
    return {f"final_{who}/{mode}_{k}": v for k, v in figures.items()}


def _play(
    bench: Workbench,
    experiment: Experiment,
    who: str,
    model: Model,
    split: str,
    listed: EpisodeSet,
    only: range | None = None,
) -> Played:
    """The episodes, or some of them, played in each mode of the split."""
    dense = who in ("teacher", "mean")
    policy = bench.agent(None if dense or not isinstance(model, StageRecord) else model)
    weights = _dense_weights(bench, model) if dense else {}
    played = {}
    for mode in _modes(split):
        with policy.swapped(weights, adapters=not dense):
            played[mode] = play(
                policy,
                listed,
                greedy=mode == "greedy",
                seed=experiment.seed,
                batch_size=experiment.rollout.batch_size,
                only=only,
            )
    return played


def _publish(
    directory: Path,
    experiment: Experiment,
    iteration: int,
    who: str,
    split: str,
    listed: EpisodeSet,
    played: Played,
) -> dict[str, float]:
    metrics: dict[str, float] = {}
    for mode, episodes in played.items():
        _write(directory / f"{mode}.jsonl", listed, episodes)
        metrics |= named(summarise(episodes), who, mode, split)
    facts = {"set": listed.name, "digest": listed.digest, "n": len(listed.episodes)}
    (directory / "episodes.json").write_text(json.dumps(facts))
    steps = iteration * experiment.rollout.envs * experiment.rollout.turns
    return metrics | {"env_steps": float(steps)}


def _count(experiment: Experiment, split: str) -> int:
    return experiment.evaluation.episodes if split == "test" else experiment.evaluation.curve_episodes


def _modes(split: str) -> tuple[str, ...]:
    return ("greedy", "sampled") if split == "test" else ("greedy",)


def _listed(experiment: Experiment, iteration: int, split: str) -> EpisodeSet:
    env, n, seed = experiment.env, _count(experiment, split), experiment.evaluation.set_seed
    return episode_set(env.id, dict(env.kwargs), split, n, seed=seed, iteration=iteration)


def _dense_weights(bench: Workbench, model: Model) -> Mapping[str, Tensor]:
    if model is None or isinstance(model, StageRecord):
        return bench.teacher(model)
    deltas = [read_deltas(update.directory / "agent", bench.start) for update in model]
    return dict(teacher_tensors(bench.start, deltas, sma(len(deltas)), MergeConfig(method="linear")))


def _write(path: Path, listed: EpisodeSet, played: Sequence[Episode]) -> None:
    with path.open("w") as file:
        for deal, e in zip(listed.deals, played, strict=True):
            row = {
                "deal": deal,
                "won": e.won,
                "return": e.episode_return,
                "ended": e.ended,
                "texts": e.texts,
                "valid": e.valid,
                "legal": e.legal,
                "thoughts": e.thoughts,
            }
            file.write(json.dumps(row) + "\n")


def _read(path: Path) -> list[Episode]:
    """The episodes of a part."""
    return [_episode(json.loads(line)) for line in path.read_text().splitlines()]


def _episode(row: dict[str, Any]) -> Episode:
    fields: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in row.items()}
    return Episode(**fields)
