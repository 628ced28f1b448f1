from collections.abc import Iterator

import pytest

from gtr_core.agent.policy import Policy
from gtr_core.rollout.types import Rollout
from tests.agent.small import small_critic, small_policy, small_rollout
from tests.guidance.made import Weights, teacher_of


@pytest.fixture(scope="module")
def policy() -> Policy:
    """The agent, unchanged by guidance; tests that change it take their own."""
    return small_policy()


@pytest.fixture(scope="module")
def rollout(policy: Policy) -> Rollout:
    """Sixteen turns of it, valid and invalid answers among them."""
    played = small_rollout(policy, small_critic(policy), envs=4, turns=4)
    valid = played.valid_T_E
    assert 4 <= int(valid.sum()) < valid.numel()
    return played


@pytest.fixture(scope="module")
def teacher(policy: Policy) -> Weights:
    return teacher_of(policy)


@pytest.fixture(autouse=True)
def loopback(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A proxy of the machine's is not asked for 127.0.0.1."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    yield
