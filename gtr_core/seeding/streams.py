"""Random numbers: every stream is derived from names and integers, never from global state.

`generator("rollout", seed, iteration, env_index)` gives the same stream in any process, in any order and for any number
of workers, which is what makes a resumed run equal to an undisturbed one (PAPER.md invariant 35).
"""

import hashlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch


def derive(*parts: str | int) -> int:
    """A 63-bit seed that is a pure function of `parts`."""
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def generator(*parts: str | int) -> np.random.Generator:
    """A NumPy generator for the stream that `parts` name."""
    return np.random.default_rng(derive(*parts))


def torch_generator(*parts: str | int) -> "torch.Generator":
    """A CPU torch generator for the stream that `parts` name."""
    import torch  # here, so that processes that only play games do without it

    return torch.Generator().manual_seed(derive(*parts))
