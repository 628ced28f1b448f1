"""Which weights RL updates, under names that a merge understands."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn

from gtr_core.config import ConfigError


def language_linears(model: Any) -> list[str]:
    """Names of the linear layers of the language model: attention and MLP, no embeddings, no output head."""
    decoder = model.get_decoder()
    if decoder is model or decoder is model.base_model:
        raise ConfigError(
            f"The language model inside a {type(model).__name__} cannot be told from its picture part: "
            "use a family of configs/model."
        )
    inside = {id(m) for m in decoder.modules()}
    return [n for n, m in model.named_modules() if type(m) is nn.Linear and id(m) in inside]


def vision_linears(model: Any) -> list[str]:
    """Names of the linear layers of the picture tower and of its projection into the language model."""
    language, head = set(language_linears(model)), model.get_output_embeddings()
    return [n for n, m in model.named_modules() if type(m) is nn.Linear and n not in language and m is not head]


def trainable_parameters(model: Any, train: str) -> dict[str, nn.Parameter]:
    """The parameters that RL updates, by name; every other one is frozen.

    `language`: all linear weights of the language model's layers (embeddings and norms stay); `lora`: the adapters.
    """
    linears = set(language_linears(model)) if train == "language" else set()
    chosen = {}
    for name, p in model.named_parameters():
        wanted = "lora_" in name if train == "lora" else name.rpartition(".")[0] in linears
        p.requires_grad_(wanted)
        if wanted:
            chosen[name] = p
    return chosen


def base_parameters(model: nn.Module) -> dict[str, nn.Parameter]:
    """All weights but the adapters', under the names that the model has without adapters."""
    return {n.replace(".base_layer", ""): p for n, p in model.named_parameters() if "lora_" not in n}


class FrozenBase(Mapping[str, Tensor]):
    """Weights under adapters, which training cannot move: read from the model when asked for, never copied as a whole.

    Each look-up gives an fp32 copy on the CPU. A copy of a 7B model's would take 26 GB.
    """

    def __init__(self, parameters: Mapping[str, nn.Parameter]) -> None:
        self._parameters = parameters

    def __getitem__(self, name: str) -> Tensor:
        return self._parameters[name].detach().float().cpu().clone()

    def __iter__(self) -> Iterator[str]:
        return iter(self._parameters)

    def __len__(self) -> int:
        return len(self._parameters)


def adapter_layers(model: nn.Module) -> list[BaseTunerLayer]:
    """The layers that carry an adapter."""
    return [m for m in model.modules() if isinstance(m, BaseTunerLayer)]


@contextmanager
def adapters_off(model: nn.Module) -> Iterator[None]:
    """The model as if it had no adapters."""
    layers = adapter_layers(model)
    for layer in layers:
        layer.enable_adapters(False)
    try:
        yield
    finally:
        for layer in layers:
            layer.enable_adapters(True)
