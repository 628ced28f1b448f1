import pytest

from gtr_core.rollout.types import Rollout
from tests.agent.small import small_critic, small_policy, small_rollout


@pytest.fixture(scope="module")
def rollout() -> Rollout:
    """Sixteen turns of the small agent's, valid and invalid answers among them."""
    policy = small_policy()
    return small_rollout(policy, small_critic(policy), envs=4, turns=4)
