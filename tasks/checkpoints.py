"""From a checkpoint's directory to a policy: its start is looked up in a workspace's store."""

import os
from pathlib import Path
from typing import Any

from gtr_core.agent.loading import load_policy
from gtr_core.agent.policy import Policy
from gtr_core.checkpoint import become, read_card
from gtr_core.config import ModelConfig, SamplingConfig
from gtr_core.errors import UserError
from tasks.store import StageStore
from tasks.workbench import BASE, base_of


def open_checkpoint(directory: Path, home: Path) -> Policy:
    """The policy that a checkpoint is.

    Raises:
        UserError: the directory holds no checkpoint, its tensors were freed, or its start is not in the workspace
            `home`.
    """
    require_tensors(directory)
    policy = open_start(directory, home)
    become(policy, directory)
    return policy


def open_start(directory: Path, home: Path) -> Policy:
    """The start that a checkpoint belongs to.

    Raises:
        UserError: the directory holds no checkpoint, or the start is not in the workspace `home`.
    """
    card = read_card(directory)
    store = StageStore(home / "store")
    start = store.lookup("warm_start", card.base)
    if start is None:
        where = store.directory("warm_start", card.base)
        raise UserError(
            f"The start of this checkpoint is missing: {where / BASE} is not there; set GTR_HOME to the workspace that "
            "has it, or run its experiment again."
        )
    settings: dict[str, Any] = dict(card.model)
    settings["tiny"] = ModelConfig().tiny.__class__(**settings["tiny"])
    settings["lora"] = ModelConfig().lora.__class__(**settings["lora"])
    return load_policy(base_of(start), ModelConfig(**settings), SamplingConfig(**card.sampling), seed=0)


def require_tensors(directory: Path) -> None:
    """Raise UserError for a checkpoint whose card is there and whose tensors are not."""
    read_card(directory)
    if not any(directory.glob("*.safetensors")):
        raise UserError(
            f"The tensors of {directory} were freed by `gtr gc`: `gtr run CONFIG --restore-freed` computes them again."
        )


def home_of(directory: Path) -> Path:
    """The workspace that has the start of a checkpoint: GTR_HOME, `.gtr`, or the one that the directory lies in."""
    base = read_card(directory).base
    told = Path(os.environ.get("GTR_HOME", ".gtr")).absolute()
    homes = (told, *directory.absolute().parents)
    return next((home for home in homes if (home / "store" / "warm_start" / base).is_dir()), told)
