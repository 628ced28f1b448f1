"""A sharded policy scores, learns and is saved as a whole one; here by one process, which is then all of them."""

from collections.abc import Iterator

import pytest
import torch
from torch import distributed

from gtr_core.agent.sharding import is_part, like, whole
from gtr_core.rl.ranks import Ranks
from tasks.ports import free_port
from tests.agent.small import scored, small_policy
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


@pytest.mark.usefixtures("group")
@pytest.mark.parametrize("train", ["language", "lora"])
def test_a_sharded_policy_is_the_policy(train: str) -> None:
    policy = small_policy(train)
    weights, scores = policy.weights(), scored(policy).detach()
    policy.shard()
    assert all(is_part(p) for p in policy.model.parameters()) and policy.trainable.keys() == weights.keys()
    assert same(policy.weights(), weights) and torch.equal(scored(policy).detach(), scores)


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
def test_every_part_counts_once_and_all_ranks_make_as_many_passes(parts: int, count: int) -> None:
    shares = [Ranks(rank, count, sharded=True).share(range(parts)) for rank in range(count)]
    assert sorted(part for share in shares for part, counts in share if counts) == list(range(parts))
    assert {len(share) for share in shares} == {-(-parts // count)}
    plain = [Ranks(rank, count).share(range(parts)) for rank in range(count)]
    assert plain == [[pair for pair in share if pair[1]] for share in shares]
