"""A start in a store, ready to be played, and an experiment whose rollouts are three batches of five environments."""

from pathlib import Path

from safetensors.torch import save_file

from gtr_core.agent.loading import save_base
from gtr_core.config import CriticConfig, EvaluationConfig, ExecutionConfig, Experiment, ModelConfig, RolloutConfig
from gtr_core.util.files import write_json
from tasks.stages.model_cache import BASE, CRITIC
from tasks.store.record import StageRecord
from tasks.store.results import Started
from tasks.store.store import StageStore
from tests.agent.small import ENV, SAMPLING, small_critic, small_policy
from tests.stages.made import run_stage


def experiment(**execution: object) -> Experiment:
    return Experiment(
        env=ENV,
        model=ModelConfig("made", "language", device="cpu"),
        sampling=SAMPLING,
        critic=CriticConfig(kind="head", hidden=32),
        rollout=RolloutConfig(envs=5, turns=3, batch_size=2),
        evaluation=EvaluationConfig(curve_episodes=3, episodes=5),
        execution=ExecutionConfig(**execution),  # type: ignore[arg-type]
    )


def start(store: StageStore) -> Started:
    def compute(directory: Path) -> dict[str, float]:
        policy = small_policy()
        (directory / "base").mkdir()
        save_base(policy, directory / "base")
        save_file(small_critic(policy).tensors(), directory / CRITIC)
        write_json(directory / BASE, {"source": "here"})
        return {}

    found = run_stage(store, "warm_start", iteration=None, seed=1, compute=compute)
    assert isinstance(found, Started)
    return found


def content(record: StageRecord) -> dict[str, str]:
    """The digests of a stage's files; its metrics' file holds the time and is left out."""
    return {name: output["sha256"] for name, output in record.outputs.items() if name != "metrics.jsonl"}
