"""An optimiser of which each process holds a part: DeepSpeed's ZeRO, stages 1 (Adam's state) and 2 (gradients too).

DeepSpeed is handed what is trained and not the model around it: every process computes with whole weights, of any
number types, and only the trained ones, which must be fp32, are cut up.
"""

from collections.abc import Mapping

import deepspeed
import torch
from deepspeed.utils import safe_get_full_optimizer_state, safe_set_full_optimizer_state
from torch import Tensor, nn

from gtr_core.config import PPOConfig
from gtr_core.rl.optimiser import Optimiser
from gtr_core.rl.ranks import Ranks

MOMENTS = ("exp_avg", "exp_avg_sq")


class ZeroOptimiser(Optimiser):
    """Adam by DeepSpeed, on the weights as they are now: it keeps copies. In each backward pass all ranks take part."""

    def __init__(self, parameters: Mapping[str, Tensor], config: PPOConfig, ranks: Ranks) -> None:
        super().__init__(parameters, config, ranks)
        # Else a kernel for sums between CPUs would be compiled now, by a compiler that need not be there.
        deepspeed.ops.__compatible_ops__.pop("deepspeed_shm_comm", None)
        settings = {
            "zero_optimization": {"stage": ranks.zero},
            "gradient_allreduce_op": "sum",  # a loss is divided by the whole minibatch
            "gradient_clipping": self.largest_norm,
            "managed_gradient_accumulation": False,  # `step` says when a minibatch is complete
            "gradient_accumulation_steps": 1,
            "train_micro_batch_size_per_gpu": 1,  # asked for, but for reports alone
        }
        self.engine = deepspeed.initialize(model=_Trained(parameters), optimizer=self.adam, config=settings)[0]

    def zero_grad(self) -> None:
        """Forget the gradients, also those that stage 2 has summed already."""
        self.engine.optimizer.zero_grad()
        self.engine.optimizer.all_grad_tensors.clear()

    def backward(self, loss: Tensor) -> None:
        """Add a loss's gradients."""
        self.engine.backward(self.engine(loss))

    def step(self) -> Tensor:
        """One step down the sum of all ranks' gradients, clipped; the norm that they had: none if it is not finite."""
        self.engine.step()
        return torch.as_tensor(self.engine.get_global_grad_norm())

    def tensors(self) -> dict[str, Tensor]:
        """Adam's moments and step counts by weight, as `Optimiser.tensors`; there is one count for all."""
        if not self._state():
            return {}
        counts = {f"{name}#step": self._state()["step"].cpu().clone() for name in self.parameters}
        return counts | {
            f"{name}#{key}": safe_get_full_optimizer_state(p, key).cpu()
            for name, p in self.parameters.items()
            for key in MOMENTS
        }

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Set Adam's state from `tensors`."""
        if not tensors:
            return
        self.backward(torch.stack([(p * 0).sum() for p in self.parameters.values()]).sum())
        self.step()  # moves nothing: Adam's state is there from the first step on
        for name, p in self.parameters.items():
            for key in MOMENTS:
                if (moment := tensors.get(f"{name}#{key}")) is not None:
                    safe_set_full_optimizer_state(p, moment, key)
        self._state()["step"].copy_(max(count for name, count in tensors.items() if name.endswith("#step")))

    def _state(self) -> dict[str, Tensor]:
        """Adam's of this rank's part: of all weights in a row, one stretch."""
        state: dict[str, Tensor] = self.adam.state[self.adam.param_groups[0]["params"][0]]
        return state


class _Trained(nn.Module):
    """What DeepSpeed takes for the model; its backward pass begins at the loss, before anything else's."""

    def __init__(self, parameters: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.trained = nn.ParameterList(parameters.values())

    def forward(self, loss: Tensor) -> Tensor:
        """The loss itself."""
        return loss
