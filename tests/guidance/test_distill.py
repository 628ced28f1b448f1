"""Terms without RL: the update follows the teacher alone."""

from dataclasses import replace

import pytest
import torch

from gtr_core.agent.loading import base_tensors
from gtr_core.config import KLConfig, PPOConfig
from gtr_core.guidance.kl import kl_penalty
from gtr_core.rl.advantages import targets
from gtr_core.rl.terms import Terms
from gtr_core.rl.trainer import imitation_loss, taught_tokens
from gtr_core.rollout.types import Rollout, SFTExample
from tests.agent.small import small_rollout, stir
from tests.rl.learner import ONCE, distance, gradients, parameters, same, train, trainer
from tests.rl.made import random_rollout


@pytest.mark.parametrize("site", ["advantage", "reward", "returns_after_gae"])
def test_the_advantage_is_the_penalty_alone(site: str) -> None:
    """A = -beta * KL, whatever the rewards and the site; the value targets are those of plain PPO."""
    r = random_rollout()
    penalty = torch.rand(r.size)
    found = targets(r, PPOConfig(), penalty, KLConfig(beta=2.0, site=site), rl=False)
    torch.testing.assert_close(found.advantage_N, -2 * penalty)
    richer = targets(replace(r, reward_T_E=r.reward_T_E + 9), PPOConfig(), penalty, KLConfig(beta=2.0), rl=False)
    assert torch.equal(found.advantage_N, richer.advantage_N)
    assert torch.equal(found.return_N, targets(r, PPOConfig()).return_N)


def test_without_any_guidance_nothing_moves(rollout: Rollout) -> None:
    """No surrogate and no value loss: a critic in the same loss would carry the reward into shared weights."""
    who = trainer()
    before = parameters(who)
    train(who, rollout, guidance=Terms(rl=False))
    assert same(parameters(who), before)


def test_the_gradient_is_that_of_imitation_alone(rollout: Rollout) -> None:
    who, other = trainer(replace(ONCE, minibatch=4)), trainer()
    example = SFTExample(rollout.image(0), rollout.prompts_N[0], rollout.answers_N[0], 3)
    only = replace(
        rollout,
        **{n: getattr(rollout, n)[:4] for n in ("prompts_N", "picture_N", "answers_N", "thought_N", "logp_N")},
        **{n: getattr(rollout, n)[:1] for n in ("value_T_E", "reward_T_E", "done_T_E", "valid_T_E")},
    )
    train(who, only, lr=0.0, guidance=Terms(examples=[example], sft_weight=2.0, rl=False))
    (2.0 * imitation_loss(other.policy, [example]) / taught_tokens(example)).backward()
    wanted = {n: p.grad for n, p in other.parameters.items() if p.grad is not None}
    found = {n: g for n, g in gradients(who).items() if n in wanted}
    assert distance(found, wanted) < 1e-4


@pytest.mark.parametrize("per", ["turn", "token"])
def test_the_gradient_of_k1_pushes_towards_the_teacher(rollout: Rollout, per: str) -> None:
    """sum K1 * grad log pi: the score-function gradient of the reverse KL, token by token or by the turn's mean."""
    config = replace(ONCE, ratio="token", thought_coef=1.0, microbatch=5)
    who, other = trainer(config), trainer(config)
    k1 = [[0.1 * ((7 * n + 3 * i) % 11 - 5) for i in range(len(a))] for n, a in enumerate(rollout.answers_N)]
    mean = torch.tensor([sum(row) / len(row) for row in k1])
    kl = KLConfig(beta=0.5, estimator="k1", scope="all", per=per)
    train(who, rollout, lr=0.0, guidance=Terms(kl, mean, k1, rl=False))
    total = torch.zeros(())
    for n, answer in enumerate(rollout.answers_N):
        prompt = other.policy.encode(rollout.image(n), rollout.prompts_N[n])
        weight = torch.tensor(k1[n]) if per == "token" else mean[n]
        total = total + 0.5 * (weight * other.policy.score([prompt], [answer]).logp_B_R[0]).sum()
    (total / sum(map(len, rollout.answers_N))).backward()
    wanted = {n: p.grad for n, p in other.parameters.items() if p.grad is not None}
    assert distance({n: g for n, g in gradients(who).items() if n in wanted}, wanted) < 1e-4


@pytest.mark.slow
def test_distillation_by_kl_brings_the_agent_to_its_teacher() -> None:
    """Five updates on the agent's own fresh answers, most of them invalid at first, and no reward."""
    config = PPOConfig(epochs=1, minibatch=32, microbatch=32, max_grad_norm=1.0, ratio="token", thought_coef=1.0)
    who = trainer(config, head=False)
    teacher = base_tensors(who.policy)
    stir(who.policy, seed=3, scale=0.03)
    kl = KLConfig(estimator="k1", scope="all", per="token", invalid=None)
    exact, valid = [], []
    for k in range(6):
        played = small_rollout(who.policy, who.critic, envs=12, turns=2, seed=k)
        whole = kl_penalty(who.policy, teacher, played, replace(kl, estimator="reverse"), 32)
        exact.append(whole.metrics["guidance/kl_mean"])
        valid.append(float(played.valid_T_E.float().mean()))
        found = kl_penalty(who.policy, teacher, played, kl, 32)
        train(who, played, lr=1e-3, seed=k, guidance=Terms(kl, found.penalty_N, found.penalty_tokens, rl=False))
    assert exact[-1] < 0.5 * exact[0] and valid[-1] > valid[0]
