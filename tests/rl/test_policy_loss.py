"""PPO's losses against NumPy, term by term (PAPER.md 1.2)."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from gtr_core.config import PPOConfig
from gtr_core.rl.ppo import policy_loss, span_weights, value_loss

ANSWER = PPOConfig(ratio="answer", clip=0.1)
TOKEN = PPOConfig(ratio="token", clip=0.1)
LENGTHS, THOUGHT = torch.tensor([5, 3, 4, 1]), torch.tensor([3, 1, 4, 0])
MASK = torch.arange(5) < LENGTHS[:, None]


def numbers(seed: int, scale: float = 0.1) -> tuple[Tensor, Tensor, Tensor]:
    """New and old log-probs, 0 on padding, and a turn's advantage on each token."""
    g = torch.Generator().manual_seed(seed)
    old = -torch.rand(4, 5, generator=g) * MASK
    new = (old + scale * torch.randn(4, 5, generator=g)) * MASK
    return new, old, torch.randn(4, 1, generator=g).expand(4, 5)


def reference(
    new: Tensor, old: Tensor, weight: Tensor, advantage: Tensor, config: PPOConfig
) -> tuple[float, list[float]]:
    """The surrogate with loops and NumPy in double precision."""
    n, o, w, a = (x.double().numpy() for x in (new, old, weight, advantage))
    terms: list[tuple[float, float, float]] = []
    for b in range(len(n)):
        if config.ratio == "answer":
            terms.append((float(np.exp(np.dot(w[b], n[b] - o[b]))), 1.0, float(np.dot(w[b], a[b]) / w[b].sum())))
        else:
            terms += [
                (float(np.exp(n[b, i] - o[b, i])), float(w[b, i]), float(a[b, i]))
                for i in range(w.shape[1])
                if w[b, i] > 0
            ]
    guarded = any(r > config.ratio_guard for r, _, _ in terms)
    total = 0.0
    for r, weight_of, advantage_of in terms:
        clipped = float(np.clip(r, 1 - config.clip, 1 + config.clip)) * advantage_of
        total -= weight_of * (clipped if guarded else min(r * advantage_of, clipped))
    return total, [r for r, _, _ in terms]


@pytest.mark.parametrize("config", [ANSWER, TOKEN, replace(ANSWER, clip=0.3), replace(TOKEN, ratio_guard=1.05)])
@pytest.mark.parametrize("coefficient", [0.2, 0.5, 1.0])
@pytest.mark.parametrize("seed", range(4))
def test_the_clipped_surrogate_is_numpys(config: PPOConfig, coefficient: float, seed: int) -> None:
    new, old, advantage = numbers(seed)
    weight = span_weights(MASK, THOUGHT, coefficient)
    found = policy_loss(new, old, weight, advantage, config)
    total, ratios = reference(new, old, weight, advantage, config)
    assert float(found.total) == pytest.approx(total, abs=1e-5)
    assert found.ratio.tolist() == pytest.approx(ratios, abs=1e-5)
    assert found.clipped.tolist() == [not 1 - config.clip <= r <= 1 + config.clip for r in ratios]
    assert not found.ratio.requires_grad


def test_token_and_answer_ratios_are_different_objectives_that_agree_on_one_token() -> None:
    new, old, advantage = numbers(0, 0.3)
    weight = span_weights(MASK, THOUGHT, 1.0)
    assert len(policy_loss(new, old, weight, advantage, ANSWER).ratio) == 4
    assert len(policy_loss(new, old, weight, advantage, TOKEN).ratio) == int(MASK.sum())
    one = [x[3:, :1] for x in (new, old, weight, advantage)]
    assert torch.equal(policy_loss(*one, ANSWER).total, policy_loss(*one, TOKEN).total)


def gradient(new: Tensor, old: Tensor, weight: Tensor, advantage: Tensor, config: PPOConfig) -> Tensor:
    leaf = new.clone().requires_grad_()
    policy_loss(leaf, old, weight, advantage, config).total.backward()
    assert leaf.grad is not None
    return leaf.grad


@pytest.mark.parametrize("config", [ANSWER, TOKEN])
@pytest.mark.parametrize(("shift", "sign"), [(0.2, 1.0), (-0.2, -1.0)])
def test_beyond_the_clip_in_the_advantages_direction_there_is_no_gradient(
    config: PPOConfig, shift: float, sign: float
) -> None:
    """PAPER.md, invariant 27: A > 0 with r > 1 + c, and A < 0 with r < 1 - c. The other way round there is one."""
    old, weight = torch.full((1, 1), -1.0), torch.ones(1, 1)
    advantage = torch.full((1, 1), sign)
    assert gradient(old + shift, old, weight, advantage, config).item() == 0
    assert gradient(old + shift, old, weight, -advantage, config).item() == pytest.approx(sign * np.exp(shift))
    assert gradient(old, old, weight, advantage, config).item() == -sign


@pytest.mark.parametrize("config", [ANSWER, TOKEN])
def test_lambda_0_trains_actions_alone_and_lambda_1_all_tokens_alike(config: PPOConfig) -> None:
    """PAPER.md, invariant 22: padding gets nothing either way."""
    new, old, advantage = numbers(1, 0.0)
    is_thought = torch.arange(5) < THOUGHT[:, None]
    none = gradient(new, old, span_weights(MASK, THOUGHT, 0.0), advantage, config)
    assert none[is_thought | ~MASK].eq(0).all() and none[MASK & ~is_thought].ne(0).all()
    every = gradient(new, old, span_weights(MASK, THOUGHT, 1.0), advantage, config)
    torch.testing.assert_close(every, -advantage * MASK)
    half = gradient(new, old, span_weights(MASK, THOUGHT, 0.5), advantage, config)
    torch.testing.assert_close(half, torch.where(is_thought, 0.5, 1.0) * every)


def test_span_weights_are_lambda_on_thought_1_on_action_and_0_on_padding() -> None:
    expected = [[0.2, 0.2, 0.2, 1, 1], [0.2, 1, 1, 0, 0], [0.2, 0.2, 0.2, 0.2, 0], [1, 0, 0, 0, 0]]
    assert torch.equal(span_weights(MASK, THOUGHT, 0.2), torch.tensor(expected))


@pytest.mark.parametrize("config", [ANSWER, TOKEN])
def test_a_ratio_above_the_guard_leaves_the_clipped_term_alone(config: PPOConfig) -> None:
    """A < 0 with a ratio of 20: the minimum would be -20, the clipped term is -1.1 and has no gradient."""
    old, weight, down = torch.full((1, 1), -4.0), torch.ones(1, 1), torch.full((1, 1), -1.0)
    far = old + float(np.log(20))
    assert policy_loss(far, old, weight, down, config).total.item() == pytest.approx(1.1)
    assert gradient(far, old, weight, down, config).item() == 0
    unguarded = replace(config, ratio_guard=30.0)
    assert policy_loss(far, old, weight, down, unguarded).total.item() == pytest.approx(20.0, rel=1e-5)


@pytest.mark.parametrize("config", [ANSWER, TOKEN])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_ratio_too_large_for_fp32_is_guarded_too(config: PPOConfig, sign: float) -> None:
    """The guard is for what has run away, so it must hold where exp overflows: no gradient, and no NaN."""
    old, weight, advantage = torch.full((1, 1), -100.0), torch.ones(1, 1), torch.full((1, 1), sign)
    assert policy_loss(old + 95, old, weight, advantage, config).total.item() == pytest.approx(-1.1 * sign)
    assert gradient(old + 95, old, weight, advantage, config).item() == 0


@pytest.mark.parametrize("seed", range(5))
def test_the_value_loss_takes_the_worse_of_clipped_and_unclipped(seed: int) -> None:
    """PAPER.md, invariant 28."""
    g = torch.Generator().manual_seed(seed)
    value, old, target = (torch.randn(50, generator=g) for _ in range(3))
    v, o, t = (x.double().numpy() for x in (value, old, target))
    near = o + np.clip(v - o, -0.1, 0.1)
    expected = 0.5 * np.maximum((v - t) ** 2, (near - t) ** 2).sum()
    assert float(value_loss(value, old, target, 0.1)) == pytest.approx(expected, rel=1e-5)


def test_a_value_that_left_the_clip_towards_its_target_learns_no_more() -> None:
    for moved, target, learns in ((0.5, 1.0, False), (0.5, -1.0, True), (0.05, 1.0, True)):
        value = torch.tensor([moved], requires_grad=True)
        value_loss(value, torch.zeros(1), torch.tensor([target]), 0.1).backward()
        assert value.grad is not None and bool(value.grad.item()) == learns
