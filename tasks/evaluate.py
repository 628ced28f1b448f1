"""Stage `evaluate`: agent, teacher, start or plain mean on the same fixed episodes."""

import json
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from gtr_core.compose import to_dict
from gtr_core.config import Experiment
from gtr_core.envs.episodes import EpisodeSet, episode_set
from gtr_core.evaluation.metrics import summarise
from gtr_core.evaluation.play import Episode, play
from gtr_core.shards import shards
from tasks.code_version import code_files, code_version
from tasks.record import Part, StageRecord
from tasks.stage import run_stage
from tasks.store import StageStore
from tasks.workbench import workbench

CURVE = (
    "success_rate",
    "return_mean",
    "valid_rate",
    "legal_rate",
    "thought_accuracy",
    "thought_distinct",
    "self_bleu_2",
    "distinct_2",
)


def evaluate(
    store: StageStore,
    experiment: Experiment,
    iteration: int,
    start: StageRecord,
    who: str,
    model: StageRecord | None,
    split: str,
) -> StageRecord:
    """Play the fixed episodes of a split.

    Args:
        store: where stages live.
        experiment: the configuration.
        iteration: of the model; 0 for the start.
        start: the warm start.
        who: `agent`, `teacher`, `start` or `mean`; the prefix of the metrics.
        model: the update (agent) or merge (teacher, mean) that made it; None for the start.
        split: `valid` for a point of the curves (greedy), `test` for the final table (greedy and sampled).
    """

    def compute(directory: Path, *parts: StageRecord) -> dict[str, float]:
        episodes = _episodes(experiment, iteration, split)
        if parts:
            played = {mode: [e for p in parts for e in _read(p.directory / f"{mode}.jsonl")] for mode in _modes(split)}
        else:
            played = _play(experiment, start, who, model, split, episodes)
        metrics: dict[str, float] = {}
        for mode, of_mode in played.items():
            _write(directory / f"{mode}.jsonl", of_mode)
            metrics |= _named(summarise(of_mode), who, mode, split)
        (directory / "episodes.json").write_text(
            json.dumps({"set": episodes.name, "digest": episodes.digest, "n": len(episodes.episodes)})
        )
        steps = iteration * experiment.rollout.envs * experiment.rollout.turns
        return metrics | {"env_steps": float(steps)}

    return run_stage(
        store,
        stage="evaluate",
        iteration=iteration,
        inputs={"start": start, "model": model},
        config=_settings(experiment, who, split),
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
    model: StageRecord | None,
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
    model: StageRecord | None,
    split: str,
    only: range,
) -> StageRecord:
    def compute(directory: Path) -> dict[str, float]:
        episodes = _episodes(experiment, iteration, split)
        played = _play(experiment, store.here(start), who, model and store.here(model), split, episodes, only)
        for mode, of_mode in played.items():
            _keep(directory / f"{mode}.jsonl", of_mode)
        return {}

    return run_stage(
        store,
        stage="evaluate_part",
        iteration=iteration,
        inputs={"start": start, "model": model},
        config=_settings(experiment, who, split) | {"first": only.start, "count": len(only)},
        code=code_version(__name__),
        sources=code_files(__name__),
        seed=experiment.seed,
        compute=compute,
    )


def _play(
    experiment: Experiment,
    start: StageRecord,
    who: str,
    model: StageRecord | None,
    split: str,
    episodes: EpisodeSet,
    only: range | None = None,
) -> dict[str, list[Episode]]:
    """The episodes, or some of them, played in each mode of the split."""
    bench = workbench(start, experiment)
    dense = who in ("teacher", "mean")
    policy = bench.agent(None if dense else model)
    played = {}
    for mode in _modes(split):
        with policy.swapped(bench.teacher(model) if dense else {}, adapters=not dense):
            played[mode] = play(
                policy,
                episodes,
                greedy=mode == "greedy",
                seed=experiment.seed,
                batch_size=experiment.rollout.batch_size,
                only=only,
            )
    return played


def _modes(split: str) -> tuple[str, ...]:
    return ("greedy", "sampled") if split == "test" else ("greedy",)


def _count(experiment: Experiment, split: str) -> int:
    return experiment.evaluation.episodes if split == "test" else experiment.evaluation.curve_episodes


def _episodes(experiment: Experiment, iteration: int, split: str) -> EpisodeSet:
    env, n, seed = experiment.env, _count(experiment, split), experiment.evaluation.set_seed
    return episode_set(env.id, dict(env.kwargs), split, n, seed=seed, iteration=iteration)


def _settings(experiment: Experiment, who: str, split: str) -> dict[str, object]:
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


def _named(figures: dict[str, float], who: str, mode: str, split: str) -> dict[str, float]:
    """`agent/success_rate` for the curve; `final_agent/greedy_success_rate` for the table."""
    if split == "valid":
        return {f"{who}/{k}": figures[k] for k in CURVE if k in figures}
    return {f"final_{who}/{mode}_{k}": v for k, v in figures.items()}


def _write(path: Path, episodes: list[Episode]) -> None:
    with path.open("w") as file:
        for e in episodes:
            row = {
                "won": e.won,
                "return": e.episode_return,
                "ended": e.ended,
                "texts": e.texts,
                "valid": e.valid,
                "legal": e.legal,
                "thoughts": e.thoughts,
            }
            file.write(json.dumps(row) + "\n")


def _keep(path: Path, episodes: list[Episode]) -> None:
    """All of the episodes, for `_read`."""
    path.write_text("".join(json.dumps(asdict(e)) + "\n" for e in episodes))


def _read(path: Path) -> list[Episode]:
    return [_episode(json.loads(line)) for line in path.read_text().splitlines()]


def _episode(row: dict[str, Any]) -> Episode:
    fields: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in row.items()}
    return Episode(**fields)
