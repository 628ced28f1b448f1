"""Stage `evaluate`: agent, teacher, start or plain mean on the same fixed episodes."""

import json
from pathlib import Path

from gtr_core.compose import to_dict
from gtr_core.config import Experiment
from gtr_core.envs.episodes import episode_set
from gtr_core.evaluation.metrics import summarise
from gtr_core.evaluation.play import Episode, play
from tasks.code_version import code_files, code_version
from tasks.record import StageRecord
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
    config = experiment.evaluation
    n = config.episodes if split == "test" else config.curve_episodes
    modes = ("greedy", "sampled") if split == "test" else ("greedy",)

    def compute(directory: Path) -> dict[str, float]:
        bench = workbench(start, experiment)
        dense = who in ("teacher", "mean")
        policy = bench.agent(None if dense else model)
        episodes = episode_set(
            experiment.env.id, dict(experiment.env.kwargs), split, n, seed=config.set_seed, iteration=iteration
        )
        metrics: dict[str, float] = {}
        for mode in modes:
            with policy.swapped(bench.teacher(model) if dense else {}, adapters=not dense):
                played = play(
                    policy,
                    episodes,
                    greedy=mode == "greedy",
                    seed=experiment.seed,
                    batch_size=experiment.rollout.batch_size,
                )
            figures = summarise(played)
            _write(directory / f"{mode}.jsonl", played)
            metrics |= _named(figures, who, mode, split)
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
        config={
            "who": who,
            "split": split,
            "episodes": n,
            "set_seed": config.set_seed,
            "modes": list(modes),
            "batch_size": experiment.rollout.batch_size,
            "env": to_dict(experiment.env),
            "sampling": to_dict(experiment.sampling),
            "model": to_dict(experiment.model),
        },
        code=code_version(__name__),
        sources=code_files(__name__),
        seed=experiment.seed,
        compute=compute,
    )


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
