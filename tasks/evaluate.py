"""Stage `evaluate`: agent, teacher, start or plain mean on the same fixed episodes."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import Tensor

from gtr_core.compose import to_dict
from gtr_core.config import Experiment, MergeConfig
from gtr_core.envs.episodes import EpisodeSet, episode_set
from gtr_core.evaluation.metrics import summarise
from gtr_core.evaluation.play import Episode, play
from gtr_core.merge import read_deltas, sma, teacher_tensors
from tasks.code_version import code_files, code_version
from tasks.record import StageRecord
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

    def compute(directory: Path) -> dict[str, float]:
        return play_episodes(directory, workbench(start, experiment), experiment, iteration, who, model, split)

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
    dense = who in ("teacher", "mean")
    policy = bench.agent(None if dense or not isinstance(model, StageRecord) else model)
    weights = _dense_weights(bench, model) if dense else {}
    listed = episode_set(
        experiment.env.id,
        dict(experiment.env.kwargs),
        split,
        _count(experiment, split),
        seed=experiment.evaluation.set_seed,
        iteration=iteration,
    )
    metrics: dict[str, float] = {}
    for mode in _modes(split):
        with policy.swapped(weights, adapters=not dense):
            played = play(
                policy,
                listed,
                greedy=mode == "greedy",
                seed=experiment.seed,
                batch_size=experiment.rollout.batch_size,
            )
        _write(directory / f"{mode}.jsonl", listed, played)
        metrics |= named(summarise(played), who, mode, split)
    facts = {"set": listed.name, "digest": listed.digest, "n": len(listed.episodes)}
    (directory / "episodes.json").write_text(json.dumps(facts))
    steps = iteration * experiment.rollout.envs * experiment.rollout.turns
    return metrics | {"env_steps": float(steps)}


def named(figures: Mapping[str, float], who: str, mode: str, split: str) -> dict[str, float]:
    """`agent/success_rate` for the curve; `final_agent/greedy_success_rate` for the table."""
    if split == "valid":
        return {f"{who}/{k}": figures[k] for k in CURVE if k in figures}
    return {f"final_{who}/{mode}_{k}": v for k, v in figures.items()}


def _count(experiment: Experiment, split: str) -> int:
    return experiment.evaluation.episodes if split == "test" else experiment.evaluation.curve_episodes


def _modes(split: str) -> tuple[str, ...]:
    return ("greedy", "sampled") if split == "test" else ("greedy",)


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
