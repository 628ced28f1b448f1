"""Random streams depend on the names and numbers that they are asked by, and on nothing else."""

import random
import subprocess
import sys

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from gtr_core.seeding.streams import derive, generator, torch_generator

NAMES = st.one_of(st.integers(0, 10**6), st.text("abcdefgh_", min_size=1, max_size=8))


def test_a_stream_is_the_same_each_time_whatever_the_global_state() -> None:
    first = generator("rollout", 1, 2, "tokens", 3).random(5)
    random.seed(9)
    np.random.seed(9)
    torch.manual_seed(9)
    generator("rollout", 1, 2, "tokens", 4).random(100)
    assert np.array_equal(generator("rollout", 1, 2, "tokens", 3).random(5), first)
    draws = [torch.rand(4, generator=torch_generator("update", 1, 2)) for _ in range(2)]
    assert torch.equal(*draws)


def test_drawing_leaves_the_global_state_alone() -> None:
    torch.manual_seed(1)
    state = torch.random.get_rng_state()
    generator("a").random(10)
    torch.rand(10, generator=torch_generator("a"))
    assert torch.equal(torch.random.get_rng_state(), state)


def test_another_process_has_the_same_streams() -> None:
    """No hash of the process takes part: text is hashed anew in each."""
    code = """
from gtr_core.seeding.streams import derive, torch_generator
print(derive("rollout", 1, 2), *torch_generator("x", 3).get_state()[:8].tolist())
"""
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    own = [derive("rollout", 1, 2), *torch_generator("x", 3).get_state()[:8].tolist()]
    assert [int(x) for x in printed] == own


def test_seed_iteration_and_environment_each_make_another_stream() -> None:
    grid = [(s, k, e) for s in range(5) for k in range(5) for e in range(5)]
    assert len({derive("rollout", *place) for place in grid}) == len(grid)
    assert len({tuple(generator("rollout", *place).random(2)) for place in grid}) == len(grid)


@given(st.lists(NAMES, min_size=1, max_size=5), st.lists(NAMES, min_size=1, max_size=5))
def test_different_names_are_different_seeds_of_63_bits(a: list[int | str], b: list[int | str]) -> None:
    """Order and borders count: 1, 23 is not 12, 3."""
    assert len({derive(1, 23), derive(12, 3), derive(123), derive(23, 1)}) == 4
    assert 0 <= derive(*a) < 2**63 and derive(*a) == derive(*a)
    assert (derive(*a) == derive(*b)) == (list(map(str, a)) == list(map(str, b)))


def test_streams_of_neighbouring_environments_are_not_alike() -> None:
    draws = np.stack([generator("rollout", 1, 1, e).random(2000) for e in range(6)])
    correlation = np.corrcoef(draws) - np.eye(6)
    assert np.abs(correlation).max() < 0.1 and np.abs(draws.mean(1) - 0.5).max() < 0.04
