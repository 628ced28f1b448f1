"""Hours, tokens and money, by hand and against the paper's own table."""

import pytest

from gtr_core.config import ConfigError, PricesConfig
from gtr_core.evaluation.cost import StageUse, cost_of, relative

GPU, CPU = "NVIDIA H100", "cpu (x86_64)"
PAPER = PricesConfig()


def test_a_run_by_hand() -> None:
    """An hour of rollouts, half of guidance half of updates on a GPU at $2; an hour of evaluation on a core at $1."""
    stages = [
        StageUse("rollout", 1800, GPU, {"rollout/tokens_generated": 100, "rollout/tokens_scored": 100}),
        StageUse("guide", 1800, GPU, {"guidance/tokens_scored": 40, "guidance/kl_mean": 7}),
        StageUse("rollout", 1800, GPU, {"rollout/tokens_generated": 50, "rollout/tokens_scored": 50}),
        StageUse("update", 1800, GPU, {}),
        StageUse("evaluate", 3600, CPU, {"agent/tokens_generated": 5}),
    ]
    cost = cost_of(stages, PricesConfig(usd_per_gpu_hour=2.0, usd_per_cpu_hour=1.0), merged_teacher=True)
    assert cost.seconds == {
        ("rollout", GPU): 3600,
        ("guide", GPU): 1800,
        ("update", GPU): 1800,
        ("evaluate", CPU): 3600,
    }
    assert (cost.training_hours, cost.device_hours) == (2.0, 3.0)
    assert (cost.tokens_generated, cost.tokens_scored) == (155, 190)
    assert cost.usd == 2 * 2.0 + 1 * 1.0
    assert cost.extra_usd == 2 * 2.0, "one more GPU for the two hours of training"


@pytest.mark.parametrize(("hours", "usd"), [(168, 216.72), (89, 114.81), (78, 100.62)])
def test_a_merged_teacher_costs_what_the_paper_says(hours: float, usd: float) -> None:
    """PAPER.md 5.3: Points24 SFT and KL, ALFWorld KL."""
    cost = cost_of([StageUse("rollout", hours * 3600, GPU, {})], PAPER, merged_teacher=True)
    assert cost.extra_usd == pytest.approx(usd, abs=0.005)


@pytest.mark.parametrize(("tokens", "usd"), [(70.35e6, 307.78), (33.5e6, 146.56)])
def test_an_external_corrector_costs_what_the_paper_says(tokens: float, usd: float) -> None:
    """PAPER.md 5.3: GTR on Points24, with either base model. Its stages tell sums over the run so far."""
    told = ({"guidance/corrector_requests": n * 10, "guidance/corrector_tokens": tokens * n / 2} for n in (1, 2))
    cost = cost_of([StageUse("guide", 0, GPU, metrics) for metrics in told], PAPER, merged_teacher=False)
    assert cost.extra_usd == cost.usd == pytest.approx(usd, abs=0.01)
    assert (cost.requests, cost.external_tokens) == (20, tokens)


def test_what_was_paid_goes_before_the_price_of_a_token() -> None:
    told = {"guidance/corrector_tokens": 1e6, "guidance/corrector_usd": 0.5}
    assert cost_of([StageUse("guide", 0, GPU, told)], PAPER, merged_teacher=False).usd == 0.5


def test_nothing_on_top_of_its_own_device_costs_nothing_extra() -> None:
    cost = cost_of([StageUse("update", 3600, GPU, {})], PAPER, merged_teacher=False)
    assert (cost.usd, cost.extra_usd) == (1.29, 0.0)


def test_relative_to_a_method() -> None:
    """Points24: 89 h against 191 h of GTR and 86 h of PPO."""
    hours = {"ppo": [86.0], "gtr": [190.0, 192.0], "turbo_kl": [89.0]}
    assert relative(hours, "gtr")["turbo_kl"] == pytest.approx(89 / 191)
    assert relative(hours, "ppo") == {"ppo": 1.0, "gtr": pytest.approx(191 / 86), "turbo_kl": pytest.approx(89 / 86)}
    assert relative(hours, "turbo_sft") == {} and relative({"ppo": [0.0]}, "ppo") == {}


def test_the_names_are_a_trackers() -> None:
    metrics = cost_of([], PAPER, merged_teacher=False).metrics()
    assert all(name.startswith("cost/") and value == 0 for name, value in metrics.items())


def test_a_price_below_zero_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"prices\.usd_per_gpu_hour"):
        PricesConfig(usd_per_gpu_hour=-1)
