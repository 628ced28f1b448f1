"""Checkpoints and teachers as MLflow models: a LoggedModel with its files, a version of a registered model, its family.

Every step may be repeated: a model that a killed process left unfinished is found by run and stage key.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mlflow import MlflowClient
from mlflow.entities import LoggedModel, LoggedModelInput, LoggedModelOutput, LoggedModelStatus, Run

from tasks.store.record import ModelKind, StageRecord
from tasks.tracking.aliases import version_by_alias
from tasks.tracking.model_files import directory_sha256, place_files
from tasks.tracking.model_versions import create_version, find_version, versions

FILES, FILES_FREED = "gtr.files", "freed"  # the tag of a version whose tensors `gtr gc` has freed


@dataclass(frozen=True)
class ModelRequest:
    """What to register: the files under `directory` of a finished stage, and the stages whose models it is made of."""

    record: StageRecord
    kind: ModelKind
    name: str  # of the registered model
    directory: str = ""  # inside the stage's directory; "" = all of it
    step: int = 0  # environment steps
    tags: Mapping[str, str] | None = None
    members: Sequence[str] = ()  # keys of the stages whose models were merged
    parent: str = ""  # key of the stage whose model was trained further
    example: str = ""  # path of a JSON file: MLflow's input example

    def place(self, client: MlflowClient, model: LoggedModel) -> None:
        """Give the model its files."""
        place_files(client, model, self.record, self.directory, self.example)


@dataclass(frozen=True)
class RegisteredVersion:
    """A version of a registered model."""

    name: str
    version: str
    model_id: str
    sha256: str

    @property
    def uri(self) -> str:
        """What `gtr eval`, `gtr play` and MLflow load."""
        return f"models:/{self.name}/{self.version}"


def slug(name: str) -> str:
    """The name with what MLflow does not take in names and aliases replaced by a dash."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-")


def register(
    client: MlflowClient, run: Run, run_key: str, request: ModelRequest, known: Mapping[str, str]
) -> RegisteredVersion:
    """Log the model of `request` in an MLflow run, register it, and give it the alias `<run key>-latest`.

    `known` has the model ids of the stages that the run has registered: parents and members are named by them. A start
    is uploaded once, not once a run.
    """
    if request.kind == "start" and (there := _same_stage(client, request)):
        return there
    tags = _tags(run, run_key, request, known)
    found = _find(client, run, request)
    version = find_version(client, request.name, found) if found else None
    model = found or _create(client, run, request, tags)
    if model.status != LoggedModelStatus.READY:
        request.place(client, model)
        client.finalize_logged_model(model.model_id, LoggedModelStatus.READY)
    if not (found and _is_output(client, run, model)):
        client.log_outputs(run.info.run_id, [LoggedModelOutput(model.model_id, request.step)])
    members = [LoggedModelInput(known[key]) for key in request.members if key in known]
    if members:
        client.log_inputs(run.info.run_id, models=members)
    version = version or create_version(client, request.name, model, tags)
    _point_latest(client, request, f"{slug(run_key)}-latest", version)
    _restore_freed(client, request)
    return RegisteredVersion(request.name, version, model.model_id, tags["gtr.sha256"])


def _point_latest(client: MlflowClient, request: ModelRequest, alias: str, version: str) -> None:
    """Move the alias on and never back: a freed stage that is computed again is older than the newest."""
    held = version_by_alias(client, request.name, alias)
    if held is None or int(held.tags.get("gtr.env_steps", 0)) <= request.step:
        client.set_registered_model_alias(request.name, alias, version)


def _tags(run: Run, run_key: str, request: ModelRequest, known: Mapping[str, str]) -> dict[str, str]:
    """`gtr.input.<name>` has the keys of the stages read, whole: by them one walks the family in the store."""
    inputs = {
        f"gtr.input.{name}": keys if isinstance(keys, str) else ",".join(keys)
        for name, keys in request.record.inputs.items()
        if keys
    }
    members = [known[key] for key in request.members if key in known]
    family = {"gtr.members": ",".join(members), "gtr.parent": known.get(request.parent, "")}
    return {
        **(request.tags or {}),
        **inputs,
        **{name: ids for name, ids in family.items() if ids},
        "gtr.run": run.info.run_name,
        "gtr.run_key": run_key,
        "gtr.run_id": run.info.run_id,
        "gtr.stage": request.record.stage,
        "gtr.stage_key": request.record.key,
        "gtr.iteration": str(request.record.iteration or 0),
        "gtr.env_steps": str(request.step),
        "gtr.sha256": directory_sha256(request.record, request.directory),
    }


def _find(client: MlflowClient, run: Run, request: ModelRequest) -> LoggedModel | None:
    """The run's model of the stage, whole or as a killed process left it."""
    key = request.record.key
    of_stage = client.search_logged_models([run.info.experiment_id], filter_string=f"tags.`gtr.stage_key` = '{key}'")
    for model in of_stage:
        if model.source_run_id == run.info.run_id and model.model_type == f"gtr-{request.kind}":
            return model
    return None


def _is_output(client: MlflowClient, run: Run, model: LoggedModel) -> bool:
    outputs = client.get_run(run.info.run_id).outputs.model_outputs
    return any(output.model_id == model.model_id for output in outputs)


def _create(client: MlflowClient, run: Run, request: ModelRequest, tags: dict[str, str]) -> LoggedModel:
    name = slug(f"{request.kind}-{request.record.iteration or 0}")
    return client.create_logged_model(
        run.info.experiment_id,
        name=name,
        source_run_id=run.info.run_id,
        tags=tags,
        model_type=f"gtr-{request.kind}",
    )


def _same_stage(client: MlflowClient, request: ModelRequest) -> RegisteredVersion | None:
    """The first version of the very same stage, whichever run registered it."""
    search = f"name = '{request.name}' and tags.`gtr.stage_key` = '{request.record.key}'"
    for version in reversed(versions(client, search)):
        return RegisteredVersion(
            version.name, str(version.version), version.tags["gtr.model_id"], version.tags["gtr.sha256"]
        )
    return None


def _restore_freed(client: MlflowClient, request: ModelRequest) -> None:
    """Give their files back to the versions, any run's, whose tensors were freed, now that the stage has them again."""
    key, mark = f"tags.`gtr.stage_key` = '{request.record.key}'", f"tags.`{FILES}` = '{FILES_FREED}'"
    for version in versions(client, f"name = '{request.name}' and {key} and {mark}"):
        model = client.get_logged_model(version.tags["gtr.model_id"])
        request.place(client, model)
        client.delete_logged_model_tag(model.model_id, FILES)
        client.delete_model_version_tag(version.name, version.version, FILES)
