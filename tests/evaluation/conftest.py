import pytest

from gtr_core.agent.policy import Policy
from tests.agent.small import small_policy


@pytest.fixture(scope="module")
def policy() -> Policy:
    return small_policy()
