"""A trainer that comes back from files goes on as if it had never stopped, bit for bit."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from gtr_core.config import KLConfig
from gtr_core.rl.terms import Terms
from gtr_core.rollout.types import Rollout
from tests.rl.learner import ONCE, parameters, same, train, trainer

CONFIG = replace(ONCE, epochs=2, minibatch=6, microbatch=4, max_grad_norm=1.0)


@pytest.mark.parametrize(("what", "head"), [("language", True), ("language", False), ("lora", True)])
def test_resuming_is_going_on(rollout: Rollout, tmp_path: Path, what: str, head: bool) -> None:
    """Weights, critic and Adam's moments through safetensors; then the same second update."""
    going = trainer(CONFIG, what, head=head)
    train(going, rollout, seed=1)
    save_file(going.policy.weights(), tmp_path / "weights.safetensors")
    save_file(going.critic.tensors(), tmp_path / "critic.safetensors")
    save_file(going.optimiser.tensors(), tmp_path / "optimizer.safetensors")
    metrics = train(going, rollout, seed=2, lr=3e-4)

    back = trainer(CONFIG, what, head=head)
    back.policy.load(load_file(tmp_path / "weights.safetensors"))
    back.critic.restore(load_file(tmp_path / "critic.safetensors"))
    back.optimiser.restore(load_file(tmp_path / "optimizer.safetensors"))
    assert train(back, rollout, seed=2, lr=3e-4) == metrics
    assert same(parameters(back), parameters(going))
    assert same(back.optimiser.tensors(), going.optimiser.tensors())
    assert same(back.critic.tensors(), going.critic.tensors())


def test_without_its_moments_it_would_go_elsewhere(rollout: Rollout) -> None:
    going, back = trainer(CONFIG), trainer(CONFIG)
    train(going, rollout, seed=1)
    back.policy.load(going.policy.weights())
    back.critic.restore(going.critic.tensors())
    train(going, rollout, seed=2)
    train(back, rollout, seed=2)
    assert not same(parameters(back), parameters(going))


def test_the_optimiser_is_named_by_parameter_and_copied(rollout: Rollout) -> None:
    who = trainer(CONFIG)
    assert who.optimiser.tensors() == {}
    train(who, rollout)
    kept = who.optimiser.tensors()
    assert {n.split("#")[0] for n in kept} == set(who.parameters)
    assert {n.split("#")[1] for n in kept} == {"step", "exp_avg", "exp_avg_sq"}
    assert {float(t) for n, t in kept.items() if n.endswith("#step")} == {6.0}
    taken = {n: t.clone() for n, t in kept.items()}
    train(who, rollout)
    assert same(kept, taken) and not same(kept, who.optimiser.tensors())


def test_the_shuffle_is_the_generators_alone(rollout: Rollout) -> None:
    """The same generator gives the same bytes whatever torch's global stream holds; another one does not."""
    first, again, other = trainer(CONFIG), trainer(CONFIG), trainer(CONFIG)
    torch.manual_seed(1)
    train(first, rollout, seed=4)
    torch.manual_seed(2)
    train(again, rollout, seed=4)
    train(other, rollout, seed=5)
    assert same(parameters(first), parameters(again)) and not same(parameters(first), parameters(other))


def test_beta_0_is_the_plain_update_bit_for_bit(rollout: Rollout) -> None:
    """PAPER.md, invariant 19, for the whole update and with a penalty on each token."""
    config = replace(CONFIG, ratio="token")
    penalties = [[0.5 * i for i in range(len(a))] for a in rollout.answers_N]
    guidance = Terms(KLConfig(beta=0.0, per="token"), torch.rand(rollout.size), penalties)
    plain, guided = trainer(config), trainer(config)
    assert train(plain, rollout) == train(guided, rollout, guidance=guidance)
    assert same(parameters(plain), parameters(guided))
