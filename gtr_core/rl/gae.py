"""Generalised advantage estimation over T turns of E environments, and what becomes of the advantages."""

import torch
from torch import Tensor


def gae(
    reward_T_E: Tensor, value_T_E: Tensor, done_T_E: Tensor, last_value_E: Tensor, gamma: float, lam: float
) -> tuple[Tensor, Tensor]:
    """Advantages and returns (PAPER.md 1.2).

        delta_t = r_t + gamma * V_{t+1} * (1 - done_t) - V_t
        A_t     = delta_t + gamma * lam * (1 - done_t) * A_{t+1},    R_t = A_t + V_t

    A done turn stops both the bootstrap and the sum, so nothing leaks from one episode into the one before it; a
    truncated episode counts as done, as in the reference (invariant 24).

    Returns:
        (advantages, returns), each (T, E) fp32.
    """
    advantage_T_E = torch.zeros_like(reward_T_E)
    ahead, value_next = torch.zeros_like(last_value_E), last_value_E
    for t in reversed(range(len(reward_T_E))):
        going = (~done_T_E[t]).to(reward_T_E)
        delta = reward_T_E[t] + gamma * value_next * going - value_T_E[t]
        ahead = delta + gamma * lam * going * ahead
        advantage_T_E[t], value_next = ahead, value_T_E[t]
    return advantage_T_E, advantage_T_E + value_T_E


def normalise(advantages: Tensor, bound: float = 0.0) -> Tensor:
    """(A - mean) / (std + 1e-5) over the whole rollout; constant advantages become zeros (invariant 26).

    With `bound` > 0 the result is clamped to [-bound, bound]. Mean and deviation are taken in fp64: in fp32 the
    rounding error of the mean is all that constant advantages have, and dividing by it would blow it up.
    """
    exact = advantages.double()
    standard = ((exact - exact.mean()) / (exact.std(unbiased=False) + 1e-5)).to(advantages)
    return standard.clamp(-bound, bound) if bound > 0 else standard
