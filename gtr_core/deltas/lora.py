"""The task vectors of a LoRA adapter in peft's format: B A * scaling, whole.

Adapters are merged as these products and never factor by factor: the factors of one and the same product are only
defined up to an invertible matrix, and their merge depends on it (PAPER.md 6.1.2, invariant 8).
"""

import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from peft.utils.other import get_pattern_key
from torch import Tensor

from gtr_core.deltas.errors import MergeError
from gtr_core.deltas.task_vectors import Deltas

PREFIX = "base_model.model."
_FACTOR = re.compile(r"(?P<module>.+)\.lora_(?P<embedding>embedding_)?(?P<side>[AB])(\.default)?(\.weight)?")
_UNSUPPORTED = (
    "use_dora",
    "fan_in_fan_out",
    "lora_bias",
    "layer_replication",
    "target_parameters",
    "trainable_token_indices",
    "use_qalora",
    "use_bdlora",
    "arrow_config",
    "kasa_config",
    "velora_config",
    "monteclora_config",
)  # settings under which the weights are more than W + B A * scaling


def lora_deltas(adapter: Mapping[str, Tensor], config: Mapping[str, Any], start: Mapping[str, Tensor]) -> Deltas:
    """B A * scaling of every target, and theta - theta_init of what the adapter holds whole (modules_to_save, biases).

    The scaling is alpha / r, or alpha / sqrt(r) where `use_rslora`, with the ranks and alphas that `rank_pattern` and
    `alpha_pattern` give single modules.

    Args:
        adapter: tensors by the names of a peft adapter file: A is (r, in) and B is (out, r).
        config: the adapter's `adapter_config.json`.
        start: the weights that it is added to.

    Raises:
        MergeError: the adapter is not plain LoRA, lacks a factor, or does not fit the start; names the first reason.
    """
    _check_config(config)
    factors: dict[str, dict[str, str]] = {}  # module -> side -> name in the file
    embeddings: set[str] = set()
    compute: dict[str, Callable[[], Tensor]] = {}
    for name in adapter:
        found = _FACTOR.fullmatch(name.removeprefix(PREFIX))
        if found:
            factors.setdefault(found["module"], {})[found["side"]] = name
            embeddings |= {found["module"]} if found["embedding"] else set()
        else:
            target = name.removeprefix(PREFIX).replace(".base_layer.", ".")
            _check_whole(target, adapter[name], start)
            compute[target] = partial(_whole, adapter, name, start, target)
    for module, own in factors.items():
        if own.keys() != {"A", "B"}:
            raise MergeError(f"the adapter of '{module}' is not a pair of A and B: it has {', '.join(own.values())}.")
        a, b = adapter[own["A"]], adapter[own["B"]]
        rank, scaling = _rank_and_scaling(config, module)
        target = f"{module}.weight"
        _check_pair(module, a, b, rank, start.get(target), module in embeddings)
        compute[target] = partial(_product, adapter, own, scaling, module in embeddings)
    return Deltas(compute)


def _rank_and_scaling(config: Mapping[str, Any], module: str) -> tuple[int, float]:
    ranks, alphas = config.get("rank_pattern") or {}, config.get("alpha_pattern") or {}
    rank = int(ranks.get(get_pattern_key(list(ranks), module), config["r"]))
    alpha = float(alphas.get(get_pattern_key(list(alphas), module), config["lora_alpha"]))
    return rank, alpha / (rank**0.5 if config.get("use_rslora") else rank)


def _product(adapter: Mapping[str, Tensor], own: Mapping[str, str], scaling: float, embedding: bool) -> Tensor:
    delta = adapter[own["B"]].float() @ adapter[own["A"]].float() * scaling
    return delta.T.contiguous() if embedding else delta


def _whole(adapter: Mapping[str, Tensor], name: str, start: Mapping[str, Tensor], target: str) -> Tensor:
    return adapter[name].float() - start[target].float()


def _check_config(config: Mapping[str, Any]) -> None:
    kind = config.get("peft_type", "LORA")
    if kind != "LORA":
        raise MergeError(f"an adapter of type {kind} cannot be merged: only LORA can.")
    for key in _UNSUPPORTED:
        if config.get(key):
            raise MergeError(f"an adapter with {key}={config[key]} cannot be merged: only plain LoRA can.")


def _check_whole(target: str, tensor: Tensor, start: Mapping[str, Tensor]) -> None:
    if target not in start:
        raise MergeError(
            f"'{target}' of the adapter is no LoRA factor and no weight of the start: it cannot be merged."
        )
    if tensor.shape != start[target].shape:
        raise MergeError(
            f"the adapter does not fit the start: '{target}' is {tuple(tensor.shape)} in the adapter and "
            f"{tuple(start[target].shape)} in the start."
        )


def _check_pair(module: str, a: Tensor, b: Tensor, rank: int, target: Tensor | None, embedding: bool) -> None:
    if a.dim() != 2 or b.dim() != 2:
        raise MergeError(
            f"the adapter of '{module}' is of a convolution: only linear layers and embeddings can be merged."
        )
    if a.shape[0] != rank or b.shape[1] != rank:
        raise MergeError(
            f"the adapter of '{module}' has factors {tuple(a.shape)} and {tuple(b.shape)}, "
            f"but its settings say rank {rank}."
        )
    if target is None:
        raise MergeError(f"the adapter does not fit the start: '{module}.weight' is in the adapter only.")
    shape = (a.shape[1], b.shape[0]) if embedding else (b.shape[0], a.shape[1])
    if shape != tuple(target.shape):
        raise MergeError(
            f"the adapter does not fit the start: '{module}.weight' is {shape} in the adapter and "
            f"{tuple(target.shape)} in the start."
        )
