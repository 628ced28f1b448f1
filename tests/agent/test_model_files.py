"""configs/model and the paper's run: they compose, and say what the paper says."""

from pathlib import Path

import pytest

from gtr_core.config.loading import build, load_experiment, read_yaml

CONFIGS = Path(__file__).resolve().parents[2] / "configs"


@pytest.mark.parametrize("path", sorted((CONFIGS / "model").glob("*.yaml")), ids=lambda p: p.stem)
def test_every_model_file_is_a_whole_model(path: Path) -> None:
    values = read_yaml(path)
    assert {"model", "sampling"} <= set(values) <= {"model", "sampling", "execution"}
    values.warm_start = {"steps": 1, "stop_at": 1}
    model = build(values).model
    assert model.train == "language" if model.source == "tiny" else model.train == "lora"
    assert model.source == "tiny" or (model.dtype == "bfloat16" and "/" in model.source)


@pytest.mark.parametrize("arm", ["kl", "sft", "ppo"])
def test_the_papers_run_has_the_papers_constants(arm: str) -> None:
    """PAPER.md section 2 and 1.8."""
    e = load_experiment(CONFIGS / "experiment" / f"points24_qwen2_5_vl_7b_{arm}.yaml")
    assert e.method == {"kl": "turbo_kl", "sft": "turbo_sft", "ppo": "ppo"}[arm]
    assert (e.iterations, e.rollout.envs * e.rollout.turns) == (30, 1024)
    assert (e.model.lora.rank, e.model.lora.alpha) == (128, 256)
    assert (e.sampling.temperature, e.sampling.top_k, e.sampling.repetition_penalty) == (0.2, 5, 1.2)
    assert e.sampling.max_new_tokens == 256
    assert (e.ppo.format_bonus, e.ppo.format_penalty, e.ppo.thought_coef) == (3.0, 2.0, 0.5)
    assert (e.ppo.epochs, e.ppo.minibatch, e.ppo.lr, e.ppo.lr_final, e.ppo.max_grad_norm) == (4, 128, 1e-5, 1e-9, 0.01)
    assert (e.ppo.gamma, e.ppo.gae_lambda, e.ppo.clip, e.ppo.adam_eps) == (0.9, 0.95, 0.1, 1e-7)
    assert (e.kl.beta, e.kl.estimator, e.kl.cap, e.kl.scope, e.kl.site) == (1.0, "clip", 10.0, "thought", "advantage")
    assert (e.merge.method, e.merge.density, e.merge.weights, e.merge.interval) == ("ties", 0.8, "sma", 1)
    assert e.env.id == "gtr/Points24-v0" and e.env.kwargs["truncate_on_illegal"] is True
