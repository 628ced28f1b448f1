"""Stages `merge` (the teacher) and `mean` (the plain average, a control): a merge of all checkpoints so far."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from torch import Tensor

from gtr_core.checkpoint import Card, read_weights, save_dense
from gtr_core.compose import to_dict
from gtr_core.config import Experiment, MergeConfig
from gtr_core.merge import MergeStatistics, dense_deltas, ema, lora_deltas, merge_deltas, sma
from tasks.code_version import code_files, code_version
from tasks.record import StageRecord
from tasks.stage import run_stage
from tasks.store import StageStore
from tasks.workbench import Workbench, card_settings, workbench


def merge(
    store: StageStore, experiment: Experiment, iteration: int, start: StageRecord, updates: Sequence[StageRecord]
) -> StageRecord:
    """The teacher for the next iteration: all checkpoints merged, relative to the start (PAPER.md 1.4)."""
    return _merge(store, experiment, "merge", iteration, start, updates, experiment.merge)


def mean(
    store: StageStore, experiment: Experiment, iteration: int, start: StageRecord, updates: Sequence[StageRecord]
) -> StageRecord:
    """The plain average of the checkpoints: what of a teacher's strength is averaging alone."""
    plain = replace(experiment.merge, method="linear", weights="sma", lam=1.0, normalize=True)
    return _merge(store, experiment, "mean", iteration, start, updates, plain)


def _merge(
    store: StageStore,
    experiment: Experiment,
    stage: str,
    iteration: int,
    start: StageRecord,
    updates: Sequence[StageRecord],
    config: MergeConfig,
) -> StageRecord:
    weights = sma(len(updates)) if config.weights == "sma" else ema(len(updates), config.ema_alpha)

    def compute(directory: Path) -> dict[str, float]:
        bench = workbench(start, experiment)
        statistics = MergeStatistics()
        merged = merge_deltas(
            [_member(bench, experiment, record) for record in updates],
            list(bench.start),
            weights,
            method=config.method,
            density=config.density,
            normalize=config.normalize,
            statistics=statistics,
        )
        teacher = {name: bench.start[name] + config.lam * tau for name, tau in merged}
        save_dense(
            teacher, Card("teacher", "dense", start.key, iteration, **card_settings(experiment)), directory / "teacher"
        )
        steps = iteration * experiment.rollout.envs * experiment.rollout.turns
        return statistics.result() | {"env_steps": float(steps)}

    settings = to_dict(config)
    settings.pop("interval")
    return run_stage(
        store,
        stage=stage,
        iteration=iteration,
        inputs={"start": start, "members": list(updates)},
        config={"merge": settings, "model": to_dict(experiment.model)},
        code=code_version(__name__),
        sources=code_files(__name__),
        seed=experiment.seed,
        compute=compute,
    )


def _member(bench: Workbench, experiment: Experiment, record: StageRecord) -> Callable[[str], Tensor]:
    """The task vector of a checkpoint."""
    weights = read_weights(record.directory / "agent")
    if experiment.model.train == "lora":
        lora = experiment.model.lora
        return lora_deltas(weights, lora.rank, lora.alpha).__getitem__
    return dense_deltas(bench.start, weights).__getitem__
