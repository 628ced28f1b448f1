"""A KL penalty a token in the update (PAPER.md 1.6): each token gives up its own share of the advantage."""

from dataclasses import replace

import torch

from gtr_core.config import KLConfig
from gtr_core.rl.advantages import targets
from gtr_core.rl.terms import Terms
from gtr_core.rollout.types import Rollout
from tests.rl.learner import ONCE, distance, gradients, train, trainer

CONFIG = replace(ONCE, ratio="token", thought_coef=1.0, microbatch=7)


def tilted(rollout: Rollout) -> list[list[float]]:
    """A penalty that grows along each answer."""
    return [[0.3 * i + 0.1 * (n % 3) for i in range(len(a))] for n, a in enumerate(rollout.answers_N)]


def means(rows: list[list[float]]) -> torch.Tensor:
    return torch.tensor([sum(row) / len(row) for row in rows])


def test_each_token_is_trained_on_the_advantage_less_its_own_penalty(rollout: Rollout) -> None:
    """At ratio 1 the gradient is that of -sum (A - beta * penalty of the token) * log-prob, over all weight."""
    penalties = tilted(rollout)
    who, other = trainer(CONFIG, head=False), trainer(CONFIG, head=False)
    guidance = Terms(KLConfig(beta=0.7, per="token"), means(penalties), penalties)
    train(who, rollout, lr=0.0, guidance=guidance)
    policy, advantage = other.policy, targets(rollout, CONFIG).advantage_N
    total = torch.zeros(())
    for n in range(rollout.size):
        prompt = policy.encode(rollout.image(n), rollout.prompts_N[n])
        logp = policy.score([prompt], [rollout.answers_N[n]]).logp_B_R[0]
        total = total + ((advantage[n] - 0.7 * torch.tensor(penalties[n])) * logp).sum()
    (-total / sum(map(len, rollout.answers_N))).backward()
    assert distance(gradients(other), gradients(who)) < 1e-4


def test_a_penalty_equal_on_all_tokens_is_a_penalty_on_the_turn(rollout: Rollout) -> None:
    penalties = tilted(rollout)
    mean = means(penalties)
    even = [[float(m)] * len(row) for m, row in zip(mean, penalties, strict=True)]
    by_turn, by_token, by_tilt, plain = (trainer(CONFIG, head=False) for _ in range(4))
    train(by_turn, rollout, lr=0.0, guidance=Terms(KLConfig(per="turn"), mean, None))
    train(by_token, rollout, lr=0.0, guidance=Terms(KLConfig(per="token"), mean, even))
    train(by_tilt, rollout, lr=0.0, guidance=Terms(KLConfig(per="token"), mean, penalties))
    train(plain, rollout, lr=0.0)
    wanted = gradients(by_turn)
    assert distance(wanted, gradients(by_token)) < 1e-5
    assert distance(wanted, gradients(by_tilt)) > 1e-2
    assert distance(wanted, gradients(plain)) > 1e-2
