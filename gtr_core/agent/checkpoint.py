"""A checkpoint on disk: a plain directory of safetensors and JSON, and the policy that comes of it.

    agent/    weights.safetensors (language) or adapter_model.safetensors + adapter_config.json (LoRA, peft's format)
    teacher/  weights.safetensors: the merged weights at the places that training can move (dense), or
              delta.safetensors: what they are away from the start, in bf16 (delta), or
              the best adapter of a rank (adapter)

`checkpoint.json` beside them says which, and which start they belong to. A start has one too: it can be played.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from gtr_core.agent.loading import adapter_config, adapter_targets, base_tensors, own_names, peft_names
from gtr_core.agent.policy import Policy
from gtr_core.agent.swapping import swap
from gtr_core.config import LoraSettings, MergeConfig, ModelConfig
from gtr_core.deltas.low_rank import to_adapter
from gtr_core.deltas.read import DELTA, read_deltas
from gtr_core.deltas.task_vectors import Moved
from gtr_core.util.errors import UserError

FORMAT = 1
CARD, WEIGHTS = "checkpoint.json", "weights.safetensors"
ADAPTER, ADAPTER_CONFIG = "adapter_model.safetensors", "adapter_config.json"


@dataclass(frozen=True)
class Card:
    """What a checkpoint is."""

    role: str  # start | agent | teacher
    kind: str  # whole | language | lora | dense | delta | adapter
    base: str  # key of the warm start whose weights it belongs to; a start is its own, and says nothing
    iteration: int
    env: dict[str, Any]  # what it was trained on
    model: dict[str, Any]
    sampling: dict[str, Any]
    format: int = FORMAT


def save_agent(weights: Mapping[str, Tensor], card: Card, model: ModelConfig, directory: Path) -> None:
    """Write a policy's trainable weights and the card."""
    directory.mkdir(parents=True)
    if card.kind == "lora":
        save_file({k: v.contiguous() for k, v in peft_names(weights).items()}, directory / ADAPTER)
        settings = adapter_config(model.lora, adapter_targets(weights))
        (directory / ADAPTER_CONFIG).write_text(json.dumps(settings, indent=1, sort_keys=True))
    else:
        save_file(dict(weights), directory / WEIGHTS)
    write_card(card, directory)


def save_dense(weights: Mapping[str, Tensor], card: Card, directory: Path) -> None:
    """Write merged weights and the card."""
    directory.mkdir(parents=True)
    save_file({k: v.contiguous() for k, v in weights.items()}, directory / WEIGHTS)
    write_card(card, directory)


def save_teacher(
    teacher: Iterable[tuple[str, Tensor]],
    start: Mapping[str, Tensor],
    card: Card,
    config: MergeConfig,
    directory: Path,
) -> float:
    """Write a teacher in the form that `merge.form` asks for, taking one tensor after the other.

    Returns:
        What the form loses: the norm of the difference over that of the teacher's distance to the start.
    """
    if config.form == "weights":
        save_dense(dict(teacher), replace(card, kind="dense"), directory)
        return 0.0
    directory.mkdir(parents=True)
    deltas = ((name, tensor.float() - start[name].float()) for name, tensor in teacher)
    if config.form == "delta":
        kept, lost, whole = {}, 0.0, 0.0
        for name, delta in deltas:
            kept[name] = delta.bfloat16()
            lost += float((delta - kept[name].float()).square().sum())
            whole += float(delta.square().sum())
        save_file(kept, directory / DELTA)
        error = (lost / whole) ** 0.5 if whole else 0.0
    else:
        tensors, error = to_adapter(deltas, config.rank, alpha=config.rank)
        save_file(tensors, directory / ADAPTER)
        targets = adapter_targets(own_names(tensors))
        settings = adapter_config(LoraSettings(rank=config.rank, alpha=config.rank), targets)
        (directory / ADAPTER_CONFIG).write_text(json.dumps(settings, indent=1, sort_keys=True))
    write_card(replace(card, kind=config.form), directory)
    return error


def read_teacher(directory: Path, start: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """A teacher's weights, whatever its form, at the places that training can move."""
    if read_card(directory).kind == "dense":
        return load_file(directory / WEIGHTS)
    return Moved(start, read_deltas(directory, start))


def read_card(directory: Path) -> Card:
    """The card of a checkpoint directory.

    Raises:
        UserError: the directory holds no checkpoint, or one of another format.
    """
    path = directory / CARD
    if not path.is_file():
        raise UserError(f"{directory} holds no checkpoint: name a directory with a {CARD} in it.")
    values = json.loads(path.read_text())
    if values.get("format") != FORMAT:
        raise UserError(f"{path} is of format {values.get('format')}, and this version reads format {FORMAT}.")
    return Card(**values)


def read_weights(directory: Path) -> dict[str, Tensor]:
    """The weights of a checkpoint directory, under the names that the policy uses."""
    if (directory / ADAPTER).is_file():
        return own_names(load_file(directory / ADAPTER))
    return load_file(directory / WEIGHTS)


def load_into(policy: Policy, directory: Path) -> None:
    """Set the weights of a policy at its start to a checkpoint's; a teacher replaces the base's own, adapters at 0."""
    role = read_card(directory).role
    if role == "start":
        return
    if role == "agent":
        policy.load(read_weights(directory))
        return
    swap(policy.model, read_teacher(directory, base_tensors(policy)))
    with torch.no_grad():
        for name, adapter in policy.trainable.items():
            if ".lora_B." in name:
                adapter.zero_()


def write_card(card: Card, directory: Path) -> None:
    """Say what the files of a directory are."""
    (directory / CARD).write_text(json.dumps(asdict(card), indent=1, sort_keys=True))
