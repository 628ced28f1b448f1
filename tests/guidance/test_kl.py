"""KL guidance: what it penalises, and that it reads what the agent read."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from gtr_core.agent.loading import base_tensors
from gtr_core.agent.policy import Policy
from gtr_core.config import KLConfig, PPOConfig
from gtr_core.guidance.kl import estimate, kl_penalty, span
from gtr_core.rl.advantages import targets
from gtr_core.rollout.types import Rollout
from tests.agent.small import small_critic, small_policy, small_rollout
from tests.guidance.made import Weights, first, teacher_of, token_by_token

ESTIMATORS = ("clip", "k1", "abs", "k3", "reverse", "forward")
every = pytest.mark.parametrize("estimator", ESTIMATORS)


@every
@pytest.mark.parametrize("what", ["language", "lora"])
def test_a_teacher_that_is_the_agent_penalises_nothing(estimator: str, what: str) -> None:
    """PAPER.md, invariant 13."""
    policy = small_policy(what)
    played = small_rollout(policy, small_critic(policy), envs=3, turns=2)
    found = kl_penalty(policy, base_tensors(policy), played, KLConfig(estimator=estimator, scope="all"), 4)
    assert found.penalty_N.abs().max() < 1e-5 and found.metrics["guidance/k1_abs_max"] < 1e-5


@pytest.mark.parametrize("estimator", ["clip", "abs", "k3", "reverse", "forward"])
def test_penalties_are_finite_not_negative_and_capped(
    policy: Policy, rollout: Rollout, teacher: Weights, estimator: str
) -> None:
    """PAPER.md, invariant 13."""
    config = KLConfig(estimator=estimator, cap=0.5, scope="all", invalid=0.25)
    found = kl_penalty(policy, teacher, rollout, config, 8)
    tokens = torch.tensor([x for row in found.penalty_tokens for x in row])
    assert torch.isfinite(tokens).all() and tokens.min() >= 0 and tokens.max() == 0.5
    assert found.penalty_N.min() >= 0 and 0 < found.penalty_N.max() <= 0.5


def test_each_token_is_compared_at_its_own_place(policy: Policy, rollout: Rollout, teacher: Weights) -> None:
    """PAPER.md, invariants 14 and 18: against both models scoring the sampled ids one token at a time, one turn."""
    found = kl_penalty(policy, teacher, rollout, KLConfig(estimator="k1", scope="all", cap=100.0), 5)
    n = first(rollout, valid=True)
    taken = torch.tensor(rollout.answers_N[n])[:, None]
    own = token_by_token(policy, rollout, n).gather(1, taken)[:, 0]
    with policy.swapped(teacher):
        taught = token_by_token(policy, rollout, n).gather(1, taken)[:, 0]
    torch.testing.assert_close(torch.tensor(found.penalty_tokens[n]), own - taught, atol=5e-5, rtol=0)
    assert float(found.penalty_N[n]) == pytest.approx(float((own - taught).mean()), abs=5e-5)
    assert (own - taught).abs().max() > 0.01


@pytest.mark.parametrize("batch_size", [1, 3, 16])
@pytest.mark.parametrize("estimator", ["clip", "reverse"])
def test_the_batch_size_changes_no_penalty(
    policy: Policy, rollout: Rollout, teacher: Weights, estimator: str, batch_size: int
) -> None:
    config = KLConfig(estimator=estimator)
    whole, parts = (kl_penalty(policy, teacher, rollout, config, size) for size in (7, batch_size))
    torch.testing.assert_close(parts.penalty_N, whole.penalty_N, atol=2e-5, rtol=0)


def test_the_teacher_sees_the_picture_and_the_prompt(policy: Policy, rollout: Rollout, teacher: Weights) -> None:
    """PAPER.md, invariant 15: the released code passes it neither picture nor positions (6.1.5)."""
    config = KLConfig(estimator="k1", scope="all")
    seen = kl_penalty(policy, teacher, rollout, config, 8).penalty_N
    inverted = replace(rollout, pictures=[np.ascontiguousarray(255 - p) for p in rollout.pictures])
    reworded = replace(rollout, prompts_N=["Go."] * rollout.size)
    for changed in (inverted, reworded):
        assert (kl_penalty(policy, teacher, changed, config, 8).penalty_N - seen).abs().max() > 1e-3


@pytest.mark.parametrize("estimator", ["clip", "forward"])
def test_the_thoughts_penalty_does_not_depend_on_the_action(
    policy: Policy, rollout: Rollout, teacher: Weights, estimator: str
) -> None:
    """PAPER.md, invariant 16."""
    end = policy.end_ids[0]
    cut = replace(
        rollout,
        answers_N=[[*a[:th], 30, end] for a, th in zip(rollout.answers_N, rollout.thought_N, strict=True)],
        logp_N=[[*row[:th], -9.0, -9.0] for row, th in zip(rollout.logp_N, rollout.thought_N, strict=True)],
    )
    config = KLConfig(estimator=estimator)
    whole, other = (kl_penalty(policy, teacher, played, config, 8) for played in (rollout, cut))
    torch.testing.assert_close(other.penalty_N, whole.penalty_N, atol=2e-5, rtol=0)
    acted = [kl_penalty(policy, teacher, played, replace(config, scope="action"), 8) for played in (rollout, cut)]
    assert (acted[0].penalty_N - acted[1].penalty_N).abs().max() > 1e-2


def test_thought_and_action_together_are_the_whole(policy: Policy, rollout: Rollout, teacher: Weights) -> None:
    """The scopes part the answer: each token is penalised in one of the two and in `all`."""
    by_scope = {s: kl_penalty(policy, teacher, rollout, KLConfig(scope=s), 8) for s in ("thought", "action", "all")}
    for n in range(rollout.size):
        thought, action, whole = (torch.tensor(by_scope[s].penalty_tokens[n]) for s in ("thought", "action", "all"))
        assert torch.equal(thought + action, whole) and not (thought * action).any()
    assert span(5, 3, "thought") == slice(0, 3) and span(5, 3, "action") == slice(3, 5)


def test_an_answer_without_thought_has_no_penalty(policy: Policy, rollout: Rollout, teacher: Weights) -> None:
    """PAPER.md, invariant 16: a defined value, and no NaN."""
    bare = replace(rollout, thought_N=[0] * rollout.size)
    found = kl_penalty(policy, teacher, bare, KLConfig(), 8)
    assert found.penalty_N.abs().max() == 0 and found.metrics["guidance/tokens_scored"] == 0


@every
def test_an_invalid_answer_has_the_constant_in_place_of_its_kl(
    policy: Policy, rollout: Rollout, teacher: Weights, estimator: str
) -> None:
    """Turn by turn and token by token alike; a valid answer's does not change."""
    plain, fined = (
        kl_penalty(policy, teacher, rollout, KLConfig(estimator=estimator, invalid=v), 8) for v in (0.0, 2.5)
    )
    valid = rollout.valid_T_E.flatten()
    assert torch.equal(fined.penalty_N[~valid], torch.full_like(fined.penalty_N[~valid], 2.5))
    assert torch.equal(fined.penalty_N[valid], plain.penalty_N[valid])
    n = first(rollout, valid=False)
    assert fined.penalty_tokens[n] == [2.5] * len(rollout.answers_N[n])
    assert plain.penalty_tokens[n] == [0.0] * len(rollout.answers_N[n])


def test_an_invalid_answer_can_have_its_own_kl(policy: Policy, rollout: Rollout, teacher: Weights) -> None:
    """`kl.invalid=null`: without it an agent that no longer makes sense would be free of its teacher."""
    config = KLConfig(scope="all", invalid=None)
    found = kl_penalty(policy, teacher, rollout, config, 8)
    legal = replace(rollout, valid_T_E=torch.ones_like(rollout.valid_T_E))
    assert torch.equal(found.penalty_N, kl_penalty(policy, teacher, legal, config, 8).penalty_N)
    assert found.penalty_N[first(rollout, valid=False)] > 0


def toy(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, float]:
    """Two distributions over seven words, and KL(p || q)."""
    logits = 1.5 * torch.randn(2, 7, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    p, q = logits.log_softmax(-1)
    return p, q, float((p.exp() * (p - q)).sum())


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("estimator", ["k1", "k3"])
def test_k1_and_k3_are_the_reverse_kl_in_expectation(seed: int, estimator: str) -> None:
    """PAPER.md, invariant 17: summed over the whole toy vocabulary, exactly."""
    p, q, exact = toy(seed)
    assert float((p.exp() * estimate(p - q, estimator, 1e9)).sum()) == pytest.approx(exact, abs=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_clip_and_abs_lie_above_k1_and_k3_is_not_negative(seed: int) -> None:
    """PAPER.md, invariant 17: so `clip` over-estimates the KL, and never pushes away from the teacher."""
    p, q, exact = toy(seed)
    k1 = p - q
    assert (estimate(k1, "clip", 1e9) >= k1).all() and (estimate(k1, "abs", 1e9) >= estimate(k1, "clip", 1e9)).all()
    assert (estimate(k1, "k3", 1e9) >= 0).all() and (k1 < 0).any()
    assert float((p.exp() * estimate(k1, "clip", 1e9)).sum()) > exact


def test_k1_is_bounded_on_both_sides_and_no_estimator_overflows() -> None:
    k1 = torch.tensor([-500.0, 0.0, 500.0])
    assert estimate(k1, "k1", 10.0).tolist() == [-10, 0, 10]
    assert estimate(k1, "clip", 10.0).tolist() == [0, 0, 10]
    assert estimate(k1, "abs", 10.0).tolist() == estimate(k1, "k3", 10.0).tolist() == [10, 0, 10]


def test_the_agents_temperature_is_the_teachers(policy: Policy) -> None:
    """PAPER.md, invariant 18: at any other one, the agent would differ from itself (6.1.7)."""
    cold = small_policy(sampling=replace(policy.sampling, temperature=0.4))
    played = small_rollout(cold, small_critic(cold), envs=2, turns=2)
    same = kl_penalty(cold, teacher_of(cold, scale=0.0), played, KLConfig(scope="all"), 4)
    assert same.metrics["guidance/k1_abs_max"] < 1e-5


def test_guidance_leaves_agent_and_gradients_alone(policy: Policy, rollout: Rollout, teacher: Weights) -> None:
    """PAPER.md, invariants 18 and 20: no gradient, no dropout, the agent's weights as they were."""
    before = policy.weights()
    for estimator in ("clip", "reverse"):
        found = kl_penalty(policy, teacher, rollout, KLConfig(estimator=estimator), 8)
        assert not found.penalty_N.requires_grad
    assert all(torch.equal(t, before[n]) for n, t in policy.weights().items())
    assert all(p.grad is None for p in policy.model.parameters()) and not policy.model.training
    assert all(not t.requires_grad for t in teacher.values())


@pytest.mark.parametrize("site", ["advantage", "reward", "returns_after_gae"])
def test_beta_0_is_ppo_bit_for_bit_and_beta_is_not(
    policy: Policy, rollout: Rollout, teacher: Weights, site: str
) -> None:
    """PAPER.md, invariant 19."""
    penalty = kl_penalty(policy, teacher, rollout, KLConfig(), 8).penalty_N
    plain = targets(rollout, PPOConfig())
    none, some = (targets(rollout, PPOConfig(), penalty, KLConfig(beta=b, site=site)) for b in (0.0, 1.0))
    assert torch.equal(none.advantage_N, plain.advantage_N) and torch.equal(none.return_N, plain.return_N)
    assert not torch.equal(some.advantage_N, plain.advantage_N)
    assert torch.equal(some.return_N, plain.return_N) == (site == "advantage")
