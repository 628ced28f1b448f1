"""From a checkpoint's directory to a policy: its start is in a workspace's store, or registered in MLflow."""

import os
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.artifacts import download_artifacts

from gtr_core.agent.checkpoint import load_into, read_card
from gtr_core.agent.loading import load_policy
from gtr_core.agent.policy import Policy
from gtr_core.config import ModelConfig, SamplingConfig
from gtr_core.util.errors import UserError
from tasks.stages.model_cache import BASE, base_of
from tasks.store.remote import shared_store
from tasks.store.store import StageStore


def open_checkpoint(directory: Path, home: Path, tracking_uri: str) -> Policy:
    """The policy that a checkpoint is.

    Raises:
        UserError: the directory holds no checkpoint, its tensors were freed, or its start is neither in the workspace
            `home` nor in the MLflow store.
    """
    require_tensors(directory)
    policy = open_start(directory, home, tracking_uri)
    load_into(policy, directory)
    return policy


def open_start(directory: Path, home: Path, tracking_uri: str) -> Policy:
    """The start that a checkpoint belongs to, or is.

    Raises:
        UserError: the directory holds no checkpoint, or its start cannot be found.
    """
    card = read_card(directory)
    settings: dict[str, Any] = dict(card.model)
    settings["tiny"] = ModelConfig().tiny.__class__(**settings["tiny"])
    settings["lora"] = ModelConfig().lora.__class__(**settings["lora"])
    start = directory if card.role == "start" else _start(card.base, home, tracking_uri)
    return load_policy(base_of(start), ModelConfig(**settings), SamplingConfig(**card.sampling), seed=0)


def _start(key: str, home: Path, tracking_uri: str) -> Path:
    """The files of a warm start, fetched where the workspace has none."""
    store = StageStore(home / "store", shared=shared_store())
    start = store.lookup("warm_start", key)
    if start is not None:
        return start.directory
    client = MlflowClient(tracking_uri, tracking_uri)
    for version in client.search_model_versions(f"tags.`gtr.stage_key` = '{key}'", max_results=1):
        return Path(download_artifacts(version.source, tracking_uri=tracking_uri))
    where = store.directory("warm_start", key) / BASE
    raise UserError(
        f"The start of this checkpoint is missing: neither {where} nor {tracking_uri} has it; set GTR_HOME to the "
        "workspace that does, or run its experiment again."
    )


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
