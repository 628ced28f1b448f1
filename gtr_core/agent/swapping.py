"""Dense weights in place of a model's own, for a while or for good.

A model in fp32 takes them as they are. In 16 bits the sum W + delta would be rounded to the grain of W: near 0.02, bf16
steps by 1e-4, and what a run moves is often less, so the teacher would be the start. There the difference is kept apart
and its product is added to the layer's, as an adapter's is; it takes the memory of the weights that it is added to.
"""

from collections.abc import Callable, Mapping
from functools import partial

import torch
from torch import Tensor, nn

from gtr_core.agent.trainable import base_parameters


def swap(model: nn.Module, dense: Mapping[str, Tensor]) -> Callable[[], None]:
    """Make the model compute with `dense`, by base names; the result restores its own."""
    parameters = base_parameters(model)
    linears = {n.replace(".base_layer", ""): m for n, m in model.named_modules() if isinstance(m, nn.Linear)}
    undo: list[Callable[[], None]] = []
    for name in dense:
        own, tensor = parameters[name], dense[name].to(parameters[name].device)
        layer = linears.get(name.removesuffix(".weight")) if name.endswith(".weight") else None
        if own.dtype == torch.float32 or layer is None:
            undo.append(partial(_set_data, own, own.data))
            own.data = tensor.to(own.data)
            continue
        delta = (tensor.float() - own.detach().float()).to(own.dtype)
        if bool(delta.any()):
            undo.append(layer.register_forward_hook(partial(_add_product, delta)).remove)

    def restore() -> None:
        for each in undo:
            each()

    return restore


def _set_data(parameter: nn.Parameter, data: Tensor) -> None:
    parameter.data = data


def _add_product(delta: Tensor, layer: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> Tensor:
    return output + nn.functional.linear(args[0], delta)
