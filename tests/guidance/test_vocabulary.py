"""KL over the whole vocabulary, against the two distributions written out place by place."""

import pytest
import torch
from torch import Tensor

import gtr_core.guidance.vocabulary
from gtr_core.agent.policy import Policy
from gtr_core.guidance.vocabulary import vocabulary_kl
from gtr_core.rollout.types import Rollout
from tests.agent.small import small_policy, stir
from tests.guidance.made import Weights, first, token_by_token


def divergence(p: Tensor, q: Tensor) -> Tensor:
    """KL(p || q) of log-probs (R, V), over the words that can be said."""
    can = torch.isfinite(p[0])
    p, q = p[:, can].double(), q[:, can].double()
    return (p.exp() * (p - q)).sum(1).float()


@pytest.mark.parametrize("estimator", ["reverse", "forward"])
def test_each_place_has_the_exact_kl_of_the_two_distributions(
    policy: Policy, rollout: Rollout, teacher: Weights, estimator: str
) -> None:
    """PAPER.md, invariants 14 and 17: both distributions token by token, without batch or padding."""
    found = vocabulary_kl(policy, teacher, rollout, estimator, 5)
    n = first(rollout, valid=True)
    own = token_by_token(policy, rollout, n)
    with policy.swapped(teacher):
        taught = token_by_token(policy, rollout, n)
    wanted = divergence(own, taught) if estimator == "reverse" else divergence(taught, own)
    kl, logp = found[n]
    torch.testing.assert_close(kl, wanted, atol=5e-5, rtol=1e-4)
    torch.testing.assert_close(
        logp, taught.gather(1, torch.tensor(rollout.answers_N[n])[:, None])[:, 0], atol=5e-5, rtol=0
    )
    assert (divergence(own, taught) - divergence(taught, own)).abs().max() > 1e-3


def test_it_is_the_mean_of_k1_over_what_the_agent_might_have_said(
    policy: Policy, rollout: Rollout, teacher: Weights
) -> None:
    """PAPER.md, invariant 17: k1 has this expectation at each place, and one sample of it."""
    n = first(rollout, valid=True)
    kl, _ = vocabulary_kl(policy, teacher, rollout, "reverse", 4)[n]
    own = token_by_token(policy, rollout, n)
    with policy.swapped(teacher):
        taught = token_by_token(policy, rollout, n)
    words = torch.multinomial(own.exp(), 20_000, replacement=True, generator=torch.Generator().manual_seed(0))
    sampled = own.gather(1, words) - taught.gather(1, words)
    error = sampled.std(1) / 20_000**0.5
    assert ((sampled.mean(1) - kl).abs() < 5 * error + 1e-5).all()


@pytest.mark.parametrize("positions", [1, 7, 10_000])
def test_the_chunks_change_nothing(
    policy: Policy, rollout: Rollout, teacher: Weights, positions: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = vocabulary_kl(policy, teacher, rollout, "reverse", 8)
    monkeypatch.setattr(gtr_core.guidance.vocabulary, "POSITIONS", positions)
    parts = vocabulary_kl(policy, teacher, rollout, "reverse", 8)
    for (a, b), (c, d) in zip(whole, parts, strict=True):
        torch.testing.assert_close(a, c, atol=1e-5, rtol=0)
        torch.testing.assert_close(b, d, atol=1e-5, rtol=0)


def test_the_output_layer_sees_a_chunk_at_most(
    policy: Policy, rollout: Rollout, teacher: Weights, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The memory it takes is bounded whatever the batch."""
    seen = []
    hook = policy.model.lm_head.register_forward_hook(lambda module, args, out: seen.append(out.shape))
    monkeypatch.setattr(gtr_core.guidance.vocabulary, "POSITIONS", 9)
    vocabulary_kl(policy, teacher, rollout, "forward", 16)
    hook.remove()
    assert max(shape[0] for shape in seen) == 9 and all(len(shape) == 2 for shape in seen)
    assert sum(shape[0] for shape in seen) == 2 * sum(map(len, rollout.answers_N))


def test_the_agent_that_is_compared_is_the_one_the_policy_holds(rollout: Rollout, teacher: Weights) -> None:
    """Reading with the agent's weights is half of it: another agent has another KL from the same teacher."""
    own, other = small_policy(), small_policy()
    stir(other)
    a, b = (torch.cat([kl for kl, _ in vocabulary_kl(p, teacher, rollout, "reverse", 8)]) for p in (own, other))
    assert (a - b).abs().max() > 1e-2
