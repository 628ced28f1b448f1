"""The value function: the paper's head, or a probe that only reads what the agent computes."""

import pytest
import torch
from torch import nn

from gtr_core.agent.critic import Critic, explained_variance, fit
from gtr_core.config import CriticConfig


def critic(kind: str, features: int = 16, seed: int = 0) -> Critic:
    return Critic(features, CriticConfig(kind=kind, hidden=24), torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("kind", "widths"), [("head", [16, 1024, 512, 1]), ("probe", [16, 24, 24, 1])])
def test_widths_follow_the_kind_and_the_models_features(kind: str, widths: list[int]) -> None:
    """The head is the paper's d -> 1024 -> 512 -> 1 with ReLU between."""
    layers = [m for m in critic(kind).modules() if isinstance(m, nn.Linear)]
    assert [layers[0].in_features, *(m.out_features for m in layers)] == widths
    assert sum(isinstance(m, nn.ReLU) for m in critic(kind).modules()) == 2


@pytest.mark.parametrize("kind", ["head", "probe"])
def test_a_new_critic_says_0_everywhere_and_can_learn(kind: str) -> None:
    fresh = critic(kind)
    values = fresh(torch.randn(5, 16))
    assert values.shape == (5,) and values.eq(0).all() and values.dtype == torch.float32
    values.sub(1).square().sum().backward()
    assert any(bool(p.grad is not None and p.grad.abs().sum() > 0) for p in fresh.parameters())


def test_its_weights_depend_on_the_generator_alone() -> None:
    torch.manual_seed(1)
    first = critic("head").tensors()
    torch.manual_seed(2)
    again, other = critic("head").tensors(), critic("head", seed=1).tensors()
    assert all(torch.equal(first[n], again[n]) for n in first)
    assert any(not torch.equal(first[n], other[n]) for n in first)


def test_half_precision_features_are_read_in_fp32() -> None:
    probe = critic("probe")
    with torch.no_grad():
        probe.net[-1].weight.fill_(0.1)
    x = torch.randn(3, 16).bfloat16()
    assert torch.equal(probe(x), probe(x.float())) and probe(x).dtype == torch.float32


def test_standardised_features_have_mean_0_and_deviation_1_and_constant_ones_stay_finite() -> None:
    probe, x = critic("probe"), torch.randn(200, 16) * 5 + 3
    x[:, 4] = 7.0
    probe.standardise(x)
    seen = (x - probe.mean) / probe.deviation
    assert seen.mean(0).abs().max() < 1e-5
    assert (seen.std(0) - 1).abs()[torch.arange(16) != 4].max() < 1e-4
    assert seen[:, 4].eq(0).all()


def test_a_probe_learns_a_target_from_its_features() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(512, 16, generator=generator)
    y = x[:, 0] - 0.5 * x[:, 1].abs()
    probe = critic("probe")
    probe.standardise(x)
    fit(probe, x[:400], y[:400], CriticConfig(kind="probe", epochs=60, lr=3e-3, batch_size=64), generator)
    assert explained_variance(probe(x[400:]).detach(), y[400:]) > 0.8


def test_a_critic_comes_back_as_it_was_with_its_standardisation() -> None:
    probe, x = critic("probe"), torch.randn(20, 16) + 2
    probe.standardise(x)
    with torch.no_grad():
        probe.net[-1].weight.normal_()
    other = critic("probe", seed=9)
    other.restore(probe.tensors())
    assert torch.equal(other(x), probe(x))
    kept = probe.tensors()
    with torch.no_grad():
        probe.net[-1].weight.zero_()
    assert not torch.equal(kept["net.4.weight"], probe.tensors()["net.4.weight"])


def test_explained_variance_is_1_for_perfect_values_0_for_a_constant_and_below_for_worse() -> None:
    returns = torch.tensor([1.0, 2.0, 4.0, -3.0])
    assert explained_variance(returns, returns) == 1.0
    assert explained_variance(torch.full((4,), 9.0), returns) == pytest.approx(0.0, abs=1e-6)
    assert explained_variance(-returns, returns) == pytest.approx(-3.0)
    assert explained_variance(returns, torch.ones(4)) == 0.0
