"""A rollout written down by hand: grids of numbers, no pictures, no policy."""

import torch
from torch import Tensor

from gtr_core.rollout.types import Rollout


def made_rollout(
    reward: Tensor, value: Tensor, done: Tensor, last: Tensor, valid: Tensor, answer: int = 3, thought: int = 2
) -> Rollout:
    n = reward.numel()
    return Rollout(
        pictures=[],
        picture_N=[0] * n,
        prompts_N=["?"] * n,
        texts_N=["!"] * n,
        action_start_N=[0] * n,
        answers_N=[[1] * answer] * n,
        thought_N=[thought] * n,
        logp_N=[[-1.0] * answer] * n,
        verdicts_N=[{}] * n,
        value_T_E=value,
        reward_T_E=reward,
        done_T_E=done,
        valid_T_E=valid,
        legal_T_E=valid,
        last_value_E=last,
        hidden_N_D=torch.zeros(n, 1),
        episodes=[{"return": 7.0, "won": 1.0, "turns": 2.0}],
    )


def random_rollout(turns: int = 7, envs: int = 3, seed: int = 0) -> Rollout:
    g = torch.Generator().manual_seed(seed)
    return made_rollout(
        reward=torch.randn(turns, envs, generator=g),
        value=torch.randn(turns, envs, generator=g),
        done=torch.rand(turns, envs, generator=g) < 0.3,
        last=torch.randn(envs, generator=g),
        valid=torch.rand(turns, envs, generator=g) < 0.6,
    )


def brute_force(
    reward: Tensor, value: Tensor, done: Tensor, last: Tensor, gamma: float, lam: float
) -> list[list[float]]:
    """Advantages as the sum over all later turns of the episode, one turn and environment at a time."""
    turns, envs = reward.shape
    r, v, d, end = reward.double(), value.double(), done.tolist(), last.double()
    rows = []
    for t in range(turns):
        row = []
        for e in range(envs):
            total, k = 0.0, t
            while True:
                following = 0.0 if d[k][e] else float(v[k + 1, e]) if k + 1 < turns else float(end[e])
                total += (gamma * lam) ** (k - t) * (float(r[k, e]) + gamma * following - float(v[k, e]))
                if d[k][e] or k + 1 == turns:
                    break
                k += 1
            row.append(total)
        rows.append(row)
    return rows
