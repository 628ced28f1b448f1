"""A model whose weights several processes hold in parts: PyTorch's `fully_shard` (FSDP2), by accelerate's settings.

A process holds its part of every weight. A module gathers the whole of its weights when its forward pass begins, and in
the backward pass once more; afterwards each process gets its part of the gradients, summed over all processes. Every
process must therefore make the same passes in the same order.
"""

from collections.abc import Callable
from typing import ParamSpec, TypeVar

import torch
from accelerate import FullyShardedDataParallelPlugin
from torch import Tensor, distributed, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from gtr_core.agent.recompute import layers_of

P = ParamSpec("P")
T = TypeVar("T")


class ForwardPass(nn.Module):
    """Whatever is computed with a model as a single forward pass of one module, which is what FSDP can follow."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, compute: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """`compute(...)`; tensors that gradients flow back from must be the result or in a tuple of it."""
        return compute(*args, **kwargs)


def shard(root: ForwardPass, device: torch.device) -> None:
    """Keep this process's part of every weight of a model that all processes hold alike.

    Which modules gather their weights at a time, and whether they let go of them before the backward pass, is what
    `accelerate launch` took from its config file; one that names no classes means the layers, of text and pictures. The
    model's parameters are other objects afterwards.
    """
    layers = sorted({type(layer).__name__ for layer in layers_of(root.model)})
    plugin = FullyShardedDataParallelPlugin()
    plugin.transformer_cls_names_to_wrap = plugin.transformer_cls_names_to_wrap or layers
    plugin.set_auto_wrap_policy(root.model)
    chosen = plugin.auto_wrap_policy or (lambda **_: False)  # NO_WRAP: all of the model at a time
    mesh = init_device_mesh(device.type, (distributed.get_world_size(),))
    for module in reversed(list(root.model.modules())):  # what is inside of a module comes before it
        if chosen(module=module, recurse=False, nonwrapped_numel=0):
            fully_shard(module, mesh=mesh, reshard_after_forward=plugin.reshard_after_forward)
    fully_shard(root, mesh=mesh)
    for module in root.modules():
        if isinstance(module, FSDPModule):  # sums, where it would take means: a loss is divided by the whole minibatch
            module.set_gradient_divide_factor(1.0)
            module.set_force_sum_reduction_for_comms(True)


def is_part(tensor: Tensor) -> bool:
    """Whether this process holds a part of a larger tensor."""
    return isinstance(tensor, DTensor)


def whole(tensor: Tensor) -> Tensor:
    """All of a tensor; where this process holds a part, every process must ask at the same time."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def like(tensor: Tensor, parameter: Tensor) -> Tensor:
    """A whole tensor as the parameter is: on its device, in its number type, and this process's part of it."""
    moved = tensor.to(parameter.device, parameter.dtype)
    if isinstance(parameter, DTensor):
        return distribute_tensor(moved, parameter.device_mesh, parameter.placements, src_data_rank=None)
    return moved
