"""The optimiser of an update: Adam, whose state and gradients one process has to itself or shares with others."""

from collections.abc import Mapping

import torch
from torch import Tensor

from gtr_core.agent.sharding import is_part, like, whole
from gtr_core.config import PPOConfig
from gtr_core.rl.ranks import Ranks


class Optimiser:
    """Adam on named weights. Every rank calls its methods alike, and all take the same step."""

    def __init__(self, parameters: Mapping[str, Tensor], config: PPOConfig, ranks: Ranks) -> None:
        self.parameters, self.ranks, self.largest_norm = parameters, ranks, config.max_grad_norm
        # Groups, since one kernel cannot step weights that are whole together with weights that are sharded.
        groups = [[p for p in parameters.values() if is_part(p) == part] for part in (True, False)]
        self.adam = torch.optim.Adam(
            [{"params": group} for group in groups if group],
            lr=config.lr,
            betas=(0.9, config.adam_beta2),
            eps=config.adam_eps,
        )

    def set_lr(self, lr: float) -> None:
        """The learning rate of the steps to come."""
        for group in self.adam.param_groups:
            group["lr"] = lr

    def zero_grad(self) -> None:
        """Forget the gradients."""
        self.adam.zero_grad()

    def backward(self, loss: Tensor) -> None:
        """Add a loss's gradients."""
        loss.backward()

    def step(self) -> Tensor:
        """One step down the sum of all ranks' gradients, clipped; the norm that they had: none if it is not finite."""
        self.ranks.sum_gradients(self.parameters.values())
        norm = self.ranks.clip_gradients(self.parameters.values(), self.largest_norm)
        if torch.isfinite(norm):
            self.adam.step()
        return norm

    def tensors(self) -> dict[str, Tensor]:
        """Adam's moments and step counts by weight, for an exact resume by any number of ranks.

        Whole ones; where each rank holds a part, all must ask.
        """
        state = self.adam.state
        return {
            f"{name}#{key}": whole(torch.as_tensor(value).detach()).cpu().clone()
            for name, p in self.parameters.items()
            for key, value in state.get(p, {}).items()
        }

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Set Adam's state from `tensors`."""
        for name, p in self.parameters.items():
            found = {k.split("#")[1]: v for k, v in tensors.items() if k.split("#")[0] == name}
            if found:
                self.adam.state[p] = {k: v.clone() if k == "step" else like(v, p) for k, v in found.items()}
