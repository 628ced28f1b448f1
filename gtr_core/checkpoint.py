"""A checkpoint on disk: a plain directory of safetensors and JSON, and the policy that comes of it.

    agent/    weights.safetensors (language) or adapter_model.safetensors + adapter_config.json (LoRA, peft's format)
    teacher/  weights.safetensors: the merged weights at the places that training can move (dense)

`checkpoint.json` beside them says which, and which start they belong to.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from gtr_core.agent.loading import adapter_config, adapter_targets, own_names, peft_names
from gtr_core.agent.policy import Policy
from gtr_core.agent.swapping import put_on
from gtr_core.config import ModelConfig
from gtr_core.errors import UserError

FORMAT = 1
CARD, WEIGHTS = "checkpoint.json", "weights.safetensors"
ADAPTER, ADAPTER_CONFIG = "adapter_model.safetensors", "adapter_config.json"


@dataclass(frozen=True)
class Card:
    """What a checkpoint is."""

    role: str  # agent | teacher
    kind: str  # language | lora | dense
    base: str  # key of the warm start whose weights it belongs to
    iteration: int
    env: dict[str, Any]  # what it was trained on
    model: dict[str, Any]
    sampling: dict[str, Any]
    format: int = FORMAT


def save_agent(policy: Policy, card: Card, model: ModelConfig, directory: Path) -> None:
    """Write the trainable weights and the card."""
    directory.mkdir(parents=True)
    if card.kind == "lora":
        save_file({k: v.contiguous() for k, v in peft_names(policy.weights()).items()}, directory / ADAPTER)
        settings = adapter_config(model.lora, adapter_targets(policy.trainable))
        (directory / ADAPTER_CONFIG).write_text(json.dumps(settings, indent=1, sort_keys=True))
    else:
        save_file(policy.weights(), directory / WEIGHTS)
    _write_card(card, directory)


def save_dense(weights: Mapping[str, Tensor], card: Card, directory: Path) -> None:
    """Write merged weights and the card."""
    directory.mkdir(parents=True)
    save_file({k: v.contiguous() for k, v in weights.items()}, directory / WEIGHTS)
    _write_card(card, directory)


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


def become(policy: Policy, directory: Path) -> None:
    """Set the policy's weights to a checkpoint's; dense ones replace the base's own, with adapters at zero."""
    weights = read_weights(directory)
    if read_card(directory).kind != "dense":
        policy.load(weights)
        return
    put_on(policy.model, weights)
    with torch.no_grad():
        for name, adapter in policy.trainable.items():
            if ".lora_B." in name:
                adapter.zero_()


def _write_card(card: Card, directory: Path) -> None:
    (directory / CARD).write_text(json.dumps(asdict(card), indent=1, sort_keys=True))
