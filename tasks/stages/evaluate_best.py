"""Stage `evaluate` of the checkpoint that the validation episodes chose: the run's best, without a look at the test."""

import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from gtr_core.config import Experiment
from gtr_core.evaluation.choice import best_iteration
from tasks.stages.evaluate import Evaluation
from tasks.stages.model_cache import loaded_model
from tasks.store.results import Evaluated, Started, Updated
from tasks.store.stage import Stage


def evaluate_best(
    experiment: Experiment,
    start: Started,
    candidates: Sequence[Updated],
    validation: Sequence[Evaluated],
    final: Evaluated,
) -> Stage[Evaluated]:
    """Play the test episodes with the best of a run's checkpoints.

    Args:
        experiment: the configuration.
        start: the warm start.
        candidates: the updates that have a point on the validation curve.
        validation: their evaluations, in the same order.
        final: the test evaluation of the last update: where that is the best, its play is taken over.
    """
    what = Evaluation(experiment, experiment.iterations, "best", None, "test")
    return Stage(
        Evaluated,
        compute=partial(_compute, experiment),
        inputs={"start": start, "candidates": candidates, "validation": validation, "final": final},
        config=what.settings(),
        seed=experiment.seed,
        iteration=experiment.iterations,
        implementations=what.implementations,
        label=what.label,
    )


def _compute(
    experiment: Experiment,
    directory: Path,
    start: Started,
    candidates: Sequence[Updated],
    validation: Sequence[Evaluated],
    final: Evaluated,
) -> dict[str, float]:
    success = {r.iteration or 0: r.metrics["agent/success_rate"] for r in validation}
    chosen = next(r for r in candidates if r.iteration == best_iteration(success))
    if chosen.key == final.inputs["model"]:
        for name in ("greedy.jsonl", "sampled.jsonl", "episodes.json"):
            shutil.copyfile(final.directory / name, directory / name)
        played = {k.replace("final_agent/", "final_best/"): v for k, v in final.metrics.items()}
    else:
        what = Evaluation(experiment, chosen.iteration or 0, "best", chosen, "test")
        listed = what.episodes()
        played = what.write_results(directory, listed, what.play_modes(loaded_model(start, experiment), listed))
    return played | {"final_best/iteration": float(chosen.iteration or 0)}
