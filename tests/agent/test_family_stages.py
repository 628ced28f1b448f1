"""Every stage of a run with a family's checkpoint: the path of the real models from a warm start to a taught update."""

from pathlib import Path

import pytest
import torch

from gtr_core.agent.checkpoint import read_weights
from gtr_core.config.loading import build
from tasks.execution.compute import find_or_compute
from tasks.stages.evaluate import Evaluation, evaluate
from tasks.stages.guide import guide
from tasks.stages.merge import merge
from tasks.stages.rollout import rollout
from tasks.stages.update import update
from tasks.stages.warm_start import warm_start
from tasks.store.results import Guided, Merged, Played, Updated
from tasks.store.store import StageStore
from tests.agent.families import FAMILIES, family_directory


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_two_iterations_from_a_supervised_start_of_adapters(family: str, tmp_path: Path) -> None:
    """In bf16, with adapters on pictures too, recomputed layers, and the merge of the first update as the teacher."""
    experiment = build(
        {
            "method": "turbo_kl",
            "iterations": 2,
            "env": {"id": "gtr/NumberLine-v0", "kwargs": {"prompt": "brief"}},
            "model": {
                "source": str(family_directory(family)),
                "dtype": "bfloat16",
                "device": "cpu",
                "gradient_checkpointing": True,
                "lora": {"rank": 4, "alpha": 8, "rslora": True, "vision": True},
            },
            "sampling": {"temperature": 0.8, "max_new_tokens": 8},
            "warm_start": {"steps": 2, "stop_at": 2, "batch_size": 2, "turns": 4},
            "rollout": {"envs": 2, "turns": 2, "batch_size": 2},
            "ppo": {"epochs": 1, "minibatch": 2, "microbatch": 2, "lr": 1e-3, "max_grad_norm": 1.0},
            "evaluation": {"curve_episodes": 2},
        }
    )
    store = StageStore(tmp_path)
    start = find_or_compute(store, warm_start(experiment))
    assert start.metrics["warm_start/demonstrations"] == 4
    agent: Updated | None = None
    teacher: Merged | None = None
    rollouts: list[Played] = []
    guides: list[Guided] = []
    updates: list[Updated] = []
    for k in (1, 2):
        rollouts.append(find_or_compute(store, rollout(experiment, k, start, agent)))
        guides.append(find_or_compute(store, guide(experiment, k, start, rollouts[-1], agent, teacher)))
        agent = find_or_compute(store, update(experiment, k, start, agent, rollouts, guides, updates))
        updates.append(agent)
        teacher = find_or_compute(store, merge(experiment, k, start, updates))
        # 16-bit rounding differs from one batch to another, so the ratio is only near 1.
        assert agent.metrics["ppo/ratio_start_error"] < 0.5 and agent.metrics["ppo/grad_norm"] > 0
    assert guides[0].metrics["guidance/k1_abs_max"] < 1e-4 < guides[1].metrics["guidance/k1_abs_max"]
    assert teacher is not None
    taught = read_weights(teacher.directory / "teacher")
    assert taught and all(bool(torch.isfinite(t).all()) for t in taught.values())
    evaluation = Evaluation(experiment, 2, "teacher", teacher, "valid")
    figures = find_or_compute(store, evaluate(start, evaluation)).metrics
    assert 0 <= figures["teacher/success_rate"] <= 1
