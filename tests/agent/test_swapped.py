"""For a while the agent is its teacher; afterwards it is itself again, bit for bit."""

import pytest
import torch
from torch import Tensor

from gtr_core.agent.loading import base_tensors
from gtr_core.agent.policy import Policy
from gtr_core.agent.trainable import base_parameters
from tests.agent.small import scored, small_policy, stir


def state(policy: Policy) -> dict[str, Tensor]:
    return {n: t.detach().clone() for n, t in policy.model.state_dict().items()}


@pytest.mark.parametrize("train", ["language", "lora"])
def test_weights_and_gradients_come_back_even_after_an_exception(train: str) -> None:
    policy = small_policy(train)
    start = base_tensors(policy)
    stir(policy)
    before, frozen = state(policy), {n: p.requires_grad for n, p in policy.model.named_parameters()}
    own = scored(policy).detach()
    with pytest.raises(RuntimeError, match="inside"), policy.swapped({n: t + 0.1 for n, t in start.items()}):
        assert (scored(policy) - own).abs().max() > 1e-2
        raise RuntimeError("inside")
    assert torch.is_grad_enabled()
    assert {n: p.requires_grad for n, p in policy.model.named_parameters()} == frozen
    assert all(torch.equal(t, before[n]) for n, t in policy.model.state_dict().items())
    assert torch.equal(scored(policy).detach(), own)


@pytest.mark.parametrize("train", ["language", "lora"])
def test_swapping_in_the_start_is_the_agent_before_it_learned(train: str) -> None:
    """With the start's weights every log-prob is the untrained agent's: a KL of 0 against it (invariant 13)."""
    policy = small_policy(train)
    start, first = base_tensors(policy), scored(policy).detach()
    stir(policy)
    assert (scored(policy) - first).abs().max() > 1e-2
    with policy.swapped(start):
        assert torch.equal(scored(policy), first)


@pytest.mark.parametrize("train", ["language", "lora"])
def test_no_gradient_reaches_a_teacher(train: str) -> None:
    """PAPER.md, invariants 10 and 20."""
    policy = small_policy(train)
    teacher = {n: t + 0.01 for n, t in base_tensors(policy).items()}
    kept = {n: t.clone() for n, t in teacher.items()}
    with policy.swapped(teacher):
        scores = scored(policy)
    assert not scores.requires_grad
    scored(policy).sum().backward()
    assert all(p.grad is not None for p in policy.trainable.values())
    assert all(torch.equal(teacher[n], kept[n]) and not teacher[n].requires_grad for n in teacher)


def test_adapters_stay_on_when_asked() -> None:
    policy = small_policy("lora")
    stir(policy)
    own = scored(policy).detach()
    with policy.swapped({}, adapters=True):
        assert torch.equal(scored(policy), own)
    with policy.swapped({}):
        assert not torch.equal(scored(policy), own)


def test_base_tensors_are_copies_in_fp32_that_training_does_not_move() -> None:
    policy = small_policy()
    start = base_tensors(policy)
    stir(policy)
    assert start.keys() == policy.trainable.keys()
    assert all(t.dtype == torch.float32 for t in start.values())
    assert all(not torch.equal(start[n], p.detach()) for n, p in policy.trainable.items())


@pytest.mark.parametrize("train", ["language", "lora"])
def test_a_merge_is_relative_to_weights_that_the_model_has_by_those_names(train: str) -> None:
    policy = small_policy(train)
    named = base_parameters(policy.model)
    assert all(torch.equal(named[n].detach(), t) for n, t in base_tensors(policy).items())


def test_weights_that_do_not_fit_are_refused_and_change_nothing() -> None:
    policy = small_policy()
    weights, before = policy.weights(), state(policy)
    name = next(iter(weights))
    with pytest.raises(ValueError, match=name):
        policy.load({n: t + 1 for n, t in weights.items() if n != name})
    with pytest.raises(ValueError, match="extra"):
        policy.load(weights | {"extra": torch.zeros(1)})
    assert all(torch.equal(t, before[n]) for n, t in policy.model.state_dict().items())


def test_weights_are_copies() -> None:
    policy = small_policy()
    taken = policy.weights()
    stir(policy)
    assert all(not torch.equal(taken[n], p.detach()) for n, p in policy.trainable.items())
    policy.load(taken)
    assert all(torch.equal(taken[n], p.detach()) for n, p in policy.trainable.items())
