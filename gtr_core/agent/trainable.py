"""Which weights RL updates, under names that a merge understands."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from peft.tuners.tuners_utils import BaseTunerLayer
from torch import nn

LANGUAGE = re.compile(r"(language_model|text_model)\.layers\.\d+\.(?!.*norm).*\.(weight|bias)$")
LANGUAGE_LINEAR = r".*(language_model|text_model)\.layers\.\d+\.(self_attn|mlp)\.[a-z_]*proj"


def trainable_parameters(model: nn.Module, train: str) -> dict[str, nn.Parameter]:
    """The parameters that RL updates, by name; every other one is frozen.

    `language`: all linear weights of the language model's layers (embeddings and norms stay); `lora`: the adapters.
    """
    chosen = {}
    for name, p in model.named_parameters():
        wanted = "lora_" in name if train == "lora" else bool(LANGUAGE.search(name))
        p.requires_grad_(wanted)
        if wanted:
            chosen[name] = p
    return chosen


def base_parameters(model: nn.Module) -> dict[str, nn.Parameter]:
    """All weights but the adapters', under the names that the model has without adapters."""
    return {n.replace(".base_layer", ""): p for n, p in model.named_parameters() if "lora_" not in n}


@contextmanager
def adapters_off(model: nn.Module) -> Iterator[None]:
    """The model as if it had no adapters."""
    layers = [m for m in model.modules() if isinstance(m, BaseTunerLayer)]
    for layer in layers:
        layer.enable_adapters(False)
    try:
        yield
    finally:
        for layer in layers:
            layer.enable_adapters(True)
