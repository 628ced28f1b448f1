"""A sharded policy scores, learns and is saved as a whole one; here by one process, which is then all of them."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, distributed
from torch.distributed.fsdp import FSDPModule

from gtr_core.agent.policy import Policy
from gtr_core.agent.recompute import layers_of
from gtr_core.agent.sharding import is_part, like, whole
from gtr_core.rl.ranks import Ranks
from tasks.execution.ports import free_port
from tests.agent.families import FAMILIES, family_policy
from tests.agent.small import prompts, scored, small_policy
from tests.rl.learner import same

SHARDED = Ranks(sharded=True)


@pytest.fixture
def group(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A process group of this process alone, and what `accelerate launch` tells its processes."""
    monkeypatch.setenv("FSDP_VERSION", "2")
    monkeypatch.setenv("FSDP_AUTO_WRAP_POLICY", "TRANSFORMER_BASED_WRAP")
    distributed.init_process_group("gloo", f"tcp://127.0.0.1:{free_port()}", rank=0, world_size=1)
    yield
    distributed.destroy_process_group()


def learned(policy: Policy) -> tuple[Tensor, dict[str, Tensor]]:
    """What the policy says of two answers, and the gradients that come of it."""
    scores = policy.score([policy.encode(*question) for question in prompts(2)], [[20, 21, 22], [23, 24]])
    (scores.logp_B_R.sum() + scores.hidden_B_D.square().sum()).backward()
    gradients = {name: whole(p.grad) for name, p in policy.trainable.items() if p.grad is not None}
    return scores.logp_B_R.detach(), gradients


@pytest.mark.usefixtures("group")
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(("train", "recomputed"), [("language", False), ("lora", True)])
def test_a_sharded_policy_is_the_policy(family: str, train: str, recomputed: bool) -> None:
    """Of every family, bit for bit, in its layers' parts as well as in what is outside of them."""
    plain, policy = (family_policy(family, train=train, gradient_checkpointing=recomputed) for _ in range(2))
    policy.shard()
    assert all(is_part(p) for p in policy.model.parameters())
    assert all(isinstance(layer, FSDPModule) for layer in layers_of(policy.model))
    assert same(policy.weights(), plain.weights())
    (scores, gradients), (expected, grown) = learned(policy), learned(plain)
    assert torch.equal(scores, expected) and same(gradients, grown)
    assert gradients.keys() == policy.trainable.keys()


@pytest.mark.usefixtures("group")
def test_gradients_of_parts_and_of_wholes_are_clipped_as_one() -> None:
    policy, plain = small_policy(), small_policy()
    policy.shard()
    clipped = []
    for who, ranks in ((policy, SHARDED), (plain, Ranks())):
        extra = torch.ones(3, requires_grad=True)
        (scored(who).square().sum() + extra.square().sum()).backward()
        parameters = [*who.trainable.values(), extra]
        norm = ranks.clip_gradients(parameters, 1.0)
        clipped.append((norm, [whole(p.grad) for p in parameters if p.grad is not None]))
    torch.testing.assert_close(clipped[0], clipped[1], rtol=1e-5, atol=1e-7)


@pytest.mark.usefixtures("group")
def test_a_tensor_is_cut_as_a_parameter_is() -> None:
    policy = small_policy()
    policy.shard()
    parameter = next(iter(policy.trainable.values()))
    tensor = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1))
    assert is_part(like(tensor, parameter)) and torch.equal(whole(like(tensor, parameter)), tensor)


@pytest.mark.parametrize("parts", range(1, 8))
@pytest.mark.parametrize("count", [1, 2, 3, 4])
@pytest.mark.parametrize("together", [{"sharded": True}, {"zero": 1}, {"zero": 2}])
def test_every_part_counts_once_and_all_ranks_make_as_many_passes(
    parts: int, count: int, together: dict[str, Any]
) -> None:
    shares = [Ranks(rank, count, **together).share(range(parts)) for rank in range(count)]
    assert sorted(part for share in shares for part, counts in share if counts) == list(range(parts))
    assert {len(share) for share in shares} == {-(-parts // count)}
    plain = [Ranks(rank, count).share(range(parts)) for rank in range(count)]
    assert plain == [[pair for pair in share if pair[1]] for share in shares]
