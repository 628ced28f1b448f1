"""The model of a run, loaded once a process and handed from stage to stage; each stage sets the weights it needs."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from gtr_core.agent.checkpoint import read_teacher, read_weights
from gtr_core.agent.critic import Critic
from gtr_core.agent.loading import base_tensors, load_policy
from gtr_core.agent.policy import Policy
from gtr_core.config import Experiment
from gtr_core.config.loading import to_dict
from gtr_core.util.files import read_json
from tasks.store.results import Averaged, Merged, Started, Updated

BASE, CRITIC, OPTIMISER = "base.json", "critic.safetensors", "optimizer.safetensors"


@dataclass(frozen=True)
class LoadedModel:
    """A policy at its start, and the start's own weights where training can move them."""

    policy: Policy
    start: Mapping[str, Tensor]  # fp32, by base names: what merges are relative to
    fresh: dict[str, Tensor]  # the trainable weights at the start

    def agent(self, record: Updated | None) -> Policy:
        """The policy with the weights of an update, or of the start."""
        self.policy.load(self.fresh if record is None else read_weights(record.model_directory))
        return self.policy

    def teacher(self, record: Merged | Averaged | None) -> Mapping[str, Tensor]:
        """Whole weights of a merge; before the first one the teacher is the start (PAPER.md 1.4, invariant 10)."""
        return self.start if record is None else read_teacher(record.directory / "teacher", self.start)


def base_of(start: Path) -> str:
    """The directory or hub id of the model of a warm start, whose files are in `start`."""
    source = str(read_json(start / BASE)["source"])
    return str(start / "base") if source == "here" else source


def loaded_model(start: Started, experiment: Experiment) -> LoadedModel:
    """The model of a warm start, loaded or remembered."""
    torch.set_num_threads(experiment.execution.threads)
    return _load(base_of(start.directory), experiment)


class _Remembered(threading.local):
    """The last model of each thread: threads that play side by side set different weights."""

    key: tuple[str, str] | None = None
    loaded: LoadedModel | None = None


_remembered = _Remembered()
_loading = threading.Lock()  # libraries draw initial weights from torch's global stream


def _load(source: str, experiment: Experiment) -> LoadedModel:
    # A config holds dicts and cannot be hashed: its text can.
    key = (source, repr((experiment.model, experiment.sampling, experiment.seed)))
    if _remembered.loaded is None or _remembered.key != key:
        _remembered.loaded = None  # two would not fit into memory
        with _loading:
            policy = load_policy(source, experiment.model, experiment.sampling, experiment.seed)
        _remembered.key, _remembered.loaded = key, LoadedModel(policy, base_tensors(policy), policy.weights())
    return _remembered.loaded


def card_settings(experiment: Experiment) -> dict[str, Any]:
    """What a checkpoint's card says of the configuration: enough to load it and play."""
    return {name: to_dict(getattr(experiment, name)) for name in ("env", "model", "sampling")}


def load_critic(directory: Path, experiment: Experiment, policy: Policy) -> Critic:
    """The critic of a stage's directory, on the policy's device."""
    critic = Critic(policy.hidden_size, experiment.critic, torch.Generator())
    critic.restore(load_file(directory / CRITIC))
    return critic.to(policy.device)
