"""What `MODEL` may be on the command line, and the policy that comes of it."""

from dataclasses import dataclass
from pathlib import Path

from omegaconf import OmegaConf

from flows.runs.run import RECORD, find_run, workspace
from gtr_core.agent.checkpoint import CARD, read_card
from gtr_core.agent.policy import Policy
from gtr_core.config import EnvConfig
from gtr_core.config.loading import read_yaml
from gtr_core.util.errors import UserError
from gtr_core.util.files import read_json
from tasks.store.store import StageStore
from tasks.tracking.checkpoints import open_checkpoint, require_tensors
from tasks.tracking.connection import tracking_uri
from tasks.tracking.model_uri import model_directory

CONFIGS = Path(__file__).resolve().parents[2] / "configs"


@dataclass(frozen=True)
class FoundModel:
    """A checkpoint that was found: its directory, and the environment it was trained on."""

    label: str
    directory: Path
    env: EnvConfig
    iteration: int  # at which it was made: what a drifting environment goes by


def find_model(text: str) -> FoundModel:
    """A checkpoint directory, a run's agent (`RUN` or `RUN:agent`), teacher or start, or a registered model.

    Raises:
        UserError: nothing of that name, and says what a model may be; or its tensors were freed.
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
    require_tensors(directory)
    card = read_card(directory)
    return FoundModel(text, directory, EnvConfig(**card.env), card.iteration)


def open_policy(model: FoundModel) -> Policy:
    """The policy that a checkpoint is; see `open_checkpoint` for what it raises."""
    return open_checkpoint(model.directory, workspace(), tracking_uri(workspace()))


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
    if part not in ("agent", "teacher", "start"):
        raise UserError(f"'{text}' names no model: a run has RUN:agent, RUN:teacher and RUN:start.")
    run = find_run(name, workspace())
    if not (run.directory / RECORD).is_file():
        raise UserError(f"The run {run.key} has not finished: `gtr status {run.name}` shows where it stands.")
    record = read_json(run.directory / RECORD)
    if part == "start":
        return StageStore(workspace() / "store").directory("warm_start", record["stages"][0]["key"])
    found = record.get(part)
    if found is None:
        raise UserError(f"The run {run.key} has no {part}: it ended before the first merge.")
    return Path(found["path"])
