"""What an update says about itself (PAPER.md, invariant 40), against figures computed beside it."""

import math
from dataclasses import replace

import pytest
import torch

from gtr_core.rl.advantages import targets
from gtr_core.rl.terms import Terms
from gtr_core.rl.trainer import Statistics
from gtr_core.rollout.types import Rollout
from tests.rl.learner import ONCE, train, trainer, with_logp


def test_kl_between_old_and_new_policy_is_k3_summed_over_an_answers_tokens(rollout: Rollout) -> None:
    """Every old log-prob lies 0.1 below: ratio e^0.1 on each token, mean over turns."""
    metrics = train(trainer(), with_logp(rollout, [[x - 0.1 for x in row] for row in rollout.logp_N]), lr=0.0)
    tokens = sum(map(len, rollout.answers_N)) / rollout.size
    assert metrics["ppo/kl_old_new"] == pytest.approx(tokens * (math.expm1(0.1) - 0.1), rel=1e-3)


def test_the_kl_reported_is_the_last_epochs_and_never_below_0(rollout: Rollout) -> None:
    config = replace(ONCE, epochs=3, minibatch=8)
    metrics = train(trainer(config), rollout, lr=3e-4)
    one = train(trainer(replace(config, epochs=1)), rollout, lr=3e-4)
    assert metrics["ppo/kl_old_new"] > one["ppo/kl_old_new"] >= 0


@pytest.mark.parametrize("ratio", ["answer", "token"])
def test_the_ratio_monitors_see_the_largest_ratio_and_the_share_beyond_the_clip(rollout: Rollout, ratio: str) -> None:
    """Half of the turns are shifted: one ratio a turn or a token, 0.05 inside and 0.3 outside the clip of 0.1."""
    by = [0.3 if n % 2 else 0.05 for n in range(rollout.size)]
    rows = [[x - d for x in row] for d, row in zip(by, rollout.logp_N, strict=True)]
    metrics = train(trainer(replace(ONCE, ratio=ratio, thought_coef=1.0)), with_logp(rollout, rows), lr=0.0)
    if ratio == "token":
        assert metrics["ppo/ratio_max"] == pytest.approx(math.exp(0.3), rel=1e-3)
        odd = sum(len(a) for n, a in enumerate(rollout.answers_N) if n % 2)
        assert metrics["ppo/clip_fraction"] == pytest.approx(odd / sum(map(len, rollout.answers_N)))
    else:
        sums = [d * len(a) for d, a in zip(by, rollout.answers_N, strict=True)]
        assert metrics["ppo/ratio_max"] == pytest.approx(math.exp(max(sums)), rel=1e-3)
        assert metrics["ppo/clip_fraction"] == sum(math.exp(s) > 1.1 for s in sums) / rollout.size
    assert metrics["ppo/ratio_start_error"] == pytest.approx(metrics["ppo/ratio_max"] - 1, rel=1e-3)


def test_entropy_is_nats_a_token_of_the_distribution_sampled_from(rollout: Rollout) -> None:
    who = trainer(replace(ONCE, microbatch=5))
    policy = who.policy
    metrics = train(who, rollout, lr=0.0)
    prompts = [policy.encode(rollout.image(n), rollout.prompts_N[n]) for n in range(rollout.size)]
    scores = policy.score(prompts, rollout.answers_N)
    tokens = sum(map(len, rollout.answers_N))
    assert metrics["ppo/entropy"] == pytest.approx(float(scores.entropy_B_R.sum()) / tokens, rel=1e-4)
    most = math.log(len(policy.tokenizer) - len(policy.banned))
    assert 0 < metrics["ppo/entropy"] < most
    # Uniform over what is allowed where the head says the same of every token.
    with torch.no_grad():
        policy.model.lm_head.weight.zero_()
    assert train(who, rollout, lr=0.0)["ppo/entropy"] == pytest.approx(most, rel=1e-5)


def test_value_figures_are_those_of_the_rollout(rollout: Rollout) -> None:
    """The joint critic starts from the values it gave while playing, so its first loss is of value against return."""
    metrics = train(trainer(), rollout, lr=0.0)
    aim = targets(rollout, ONCE)
    error = (rollout.value_T_E.flatten() - aim.return_N).square()
    assert metrics["ppo/value_loss"] == pytest.approx(0.5 * float(error.mean()), rel=1e-3)
    assert metrics["ppo/return_mean"] == pytest.approx(float(aim.return_N.mean()))
    assert metrics["ppo/value_mean"] == pytest.approx(float(rollout.value_T_E.mean()))
    assert "ppo/value_loss" not in train(trainer(head=False), rollout, lr=0.0)


def test_the_value_targets_are_handed_back(rollout: Rollout) -> None:
    who = trainer()
    _, returns = who.update(rollout, Terms(), 0.0, torch.Generator())
    assert torch.equal(returns, targets(rollout, ONCE).return_N)


def test_statistics_are_means_and_maxima() -> None:
    statistics = Statistics()
    statistics.add("loss", 6.0, 2)
    statistics.add("loss", 3.0, 1)
    statistics.top("most", -3.0)
    statistics.top("most", -5.0)
    assert statistics.result() == {"loss": 3.0, "most": -3.0}
