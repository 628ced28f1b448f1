"""Stage `evaluate` of the checkpoint that the validation episodes chose: the run's best, without a look at the test."""

import shutil
from collections.abc import Sequence
from pathlib import Path

from gtr_core.config import Experiment
from gtr_core.evaluation.choice import best_iteration
from tasks.stages.evaluate import Evaluation
from tasks.stages.model_cache import workbench
from tasks.store.contents import environment_modules
from tasks.store.fingerprint import code_files, code_version
from tasks.store.record import StageRecord
from tasks.store.stage import run_stage
from tasks.store.store import StageStore


def evaluate_best(
    store: StageStore,
    experiment: Experiment,
    start: StageRecord,
    candidates: Sequence[StageRecord],
    validation: Sequence[StageRecord],
    final: StageRecord,
) -> StageRecord:
    """Play the test episodes with the best of a run's checkpoints.

    Args:
        store: where stages live.
        experiment: the configuration.
        start: the warm start.
        candidates: the updates that have a point on the validation curve.
        validation: their evaluations, in the same order.
        final: the test evaluation of the last update: where that is the best, its play is taken over.
    """

    def compute(directory: Path) -> dict[str, float]:
        success = {r.iteration or 0: r.metrics["agent/success_rate"] for r in validation}
        chosen = next(r for r in candidates if r.iteration == best_iteration(success))
        if chosen.key == final.inputs["model"]:
            for name in ("greedy.jsonl", "sampled.jsonl", "episodes.json"):
                shutil.copyfile(final.directory / name, directory / name)
            played = {k.replace("final_agent/", "final_best/"): v for k, v in final.metrics.items()}
        else:
            what = Evaluation(experiment, chosen.iteration or 0, "best", chosen, "test")
            listed = what.episodes()
            played = what.publish(directory, listed, what.play(workbench(start, experiment), listed))
        return played | {"final_best/iteration": float(chosen.iteration or 0)}

    return run_stage(
        store,
        stage="evaluate",
        iteration=experiment.iterations,
        inputs={"start": start, "candidates": candidates, "validation": validation, "final": final},
        config=Evaluation(experiment, experiment.iterations, "best", None, "test").settings(),
        code=code_version(__name__, *environment_modules(experiment.env)),
        sources=code_files(__name__, *environment_modules(experiment.env)),
        seed=experiment.seed,
        compute=compute,
    )
