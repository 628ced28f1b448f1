"""What `MODEL` may be on the command line, and the policy that comes of it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from flows.runs import RECORD, find_run, workspace
from gtr_core.agent.loading import load_policy
from gtr_core.agent.policy import Policy
from gtr_core.checkpoint import CARD, become, read_card
from gtr_core.compose import read_yaml
from gtr_core.config import EnvConfig, ModelConfig, SamplingConfig
from gtr_core.errors import UserError
from gtr_core.files import read_json
from tasks.model_uri import model_directory
from tasks.shared_store import shared_store
from tasks.store import StageStore
from tasks.workbench import BASE, base_of

CONFIGS = Path(__file__).resolve().parents[1] / "configs"


@dataclass(frozen=True)
class Model:
    """A checkpoint that was found: its directory, and the environment it was trained on."""

    label: str
    directory: Path
    env: EnvConfig
    iteration: int  # at which it was made: what a drifting environment goes by


def find_model(text: str) -> Model:
    """A checkpoint directory, a run's agent (`RUN` or `RUN:agent`), its teacher (`RUN:teacher`), or a registered model.

    Raises:
        UserError: nothing of that name; says what a model may be.
    """
    home = workspace()
    if text.startswith("models:/"):
        directory = model_directory(home, text)
    elif (Path(text) / CARD).is_file():
        directory = Path(text)
    elif (Path(text) / "agent" / CARD).is_file() or (Path(text) / "teacher" / CARD).is_file():
        directory = next(d for d in (Path(text) / "agent", Path(text) / "teacher") if d.is_dir())
    elif "/" in text or Path(text).exists():
        raise UserError(
            f"{text} holds no checkpoint: name a directory with a {CARD} in it, a run or models:/NAME@ALIAS."
        )
    else:
        directory = _of_run(text)
    card = read_card(directory)
    return Model(text, directory, EnvConfig(**card.env), card.iteration)


def open_policy(model: Model) -> Policy:
    """The policy that a checkpoint is; see `open_start` for what it raises."""
    policy = open_start(model)
    become(policy, model.directory)
    return policy


def open_start(model: Model) -> Policy:
    """Load the start that a checkpoint belongs to.

    Raises:
        UserError: the start is not in this workspace's store.
    """
    card = read_card(model.directory)
    store = StageStore(workspace() / "store", shared=shared_store())
    start = store.lookup("warm_start", card.base)
    if start is None:
        where = store.directory("warm_start", card.base)
        raise UserError(
            f"The start of this checkpoint is missing: {where / BASE} is not there; run its experiment again."
        )
    settings: dict[str, Any] = dict(card.model)
    settings["tiny"] = ModelConfig().tiny.__class__(**settings["tiny"])
    settings["lora"] = ModelConfig().lora.__class__(**settings["lora"])
    return load_policy(base_of(start), ModelConfig(**settings), SamplingConfig(**card.sampling), seed=0)


def find_env(text: str) -> EnvConfig:
    """An environment by the short name of a file in configs/env, by a YAML file, or by its registered id.

    Raises:
        UserError: there is none of that name; names the nearest.
    """
    import difflib

    import gymnasium

    import gtr_core.envs  # noqa: F401 - registers the ids

    path = Path(text) if text.endswith(".yaml") else CONFIGS / "env" / f"{text}.yaml"
    if path.is_file() or text.endswith(".yaml"):
        values = OmegaConf.to_container(read_yaml(path)["env"])
        return EnvConfig(**{str(k): v for k, v in dict(values).items()})  # type: ignore[arg-type]
    if text in gymnasium.registry:
        return EnvConfig(id=text)
    known = [p.stem for p in (CONFIGS / "env").glob("*.yaml")] + [i for i in gymnasium.registry if i.startswith("gtr/")]
    near = difflib.get_close_matches(text, known, n=1, cutoff=0.3) or known[:1]
    raise UserError(f"There is no environment '{text}': did you mean '{near[0]}'?")


def _of_run(text: str) -> Path:
    name, _, part = text.partition(":")
    part = part or "agent"
    if part not in ("agent", "teacher"):
        raise UserError(f"'{text}' names no model: a run has RUN:agent and RUN:teacher.")
    run = find_run(name, workspace())
    if not (run.directory / RECORD).is_file():
        raise UserError(f"The run {run.key} has not finished: `gtr status {run.name}` shows where it stands.")
    found = read_json(run.directory / RECORD).get(part)
    if found is None:
        raise UserError(f"The run {run.key} has no {part}: it ended before the first merge.")
    return Path(found["path"])
