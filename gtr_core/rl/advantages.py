"""From a rollout and its guidance to what each token is trained with."""

from dataclasses import dataclass

import torch
from torch import Tensor

from gtr_core.config import KLConfig, PPOConfig
from gtr_core.rl.gae import gae, normalise
from gtr_core.rollout.types import Rollout


@dataclass(frozen=True)
class Targets:
    """What PPO needs of a rollout of N turns."""

    advantage_N: Tensor  # normalised; less beta * KL of the turn where guidance acts on the advantage turn by turn
    return_N: Tensor  # value targets, in scaled rewards


def targets(
    rollout: Rollout,
    ppo: PPOConfig,
    penalty_N: Tensor | None = None,
    kl: KLConfig | None = None,
    *,
    rl: bool = True,
) -> Targets:
    """Advantages and value targets (PAPER.md 1.7), with the KL penalty at its site.

    - `advantage` (equation 6): A' = A - beta * KL after normalisation, so that beta is in units of A's deviation and
      only the turn itself moves (invariant 19);
    - `reward` (algorithm 2, line 11): r' = r - beta * KL before GAE, which carries it to earlier turns;
    - `returns_after_gae` (the released code): R' = R - beta * KL, which moves the value target too, inside the
      normalisation.

    The format reward enters the returns after GAE, outside the episode's return and success (invariant 25).

    With `rl` off the reward plays no part: A' = -beta * KL of the turn, whatever the site, and 0 without a penalty. The
    value targets stay those of the rewards.
    """
    reward = rollout.reward_T_E * ppo.reward_scale
    penalty = None if penalty_N is None or kl is None else kl.beta * penalty_N.view_as(reward)
    site = "" if kl is None else kl.site if rl else "advantage"
    if penalty is not None and site == "reward":
        reward = reward - penalty
    advantage, returns = gae(
        reward, rollout.value_T_E, rollout.done_T_E, rollout.last_value_E, ppo.gamma, ppo.gae_lambda
    )
    shaped = torch.where(rollout.valid_T_E, ppo.format_bonus, -ppo.format_penalty) * ppo.reward_scale
    if penalty is not None and site == "returns_after_gae":
        shaped = shaped - penalty
    returns = returns + shaped
    surplus = (returns - rollout.value_T_E).flatten()
    advantage = normalise(surplus, ppo.advantage_clip) if rl else torch.zeros_like(surplus)
    if penalty is not None and site == "advantage":
        advantage = advantage - penalty.flatten()
    return Targets(advantage, returns.flatten())
