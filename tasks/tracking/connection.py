"""The MLflow store of a workspace: which one it is, made once, its runs, and what its being away looks like."""

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlparse

import requests
from mlflow import MlflowClient
from mlflow.entities import Experiment, Param, Run, RunTag
from mlflow.exceptions import MlflowException
from sqlalchemy.exc import OperationalError

from gtr_core.util.errors import UserError
from gtr_core.util.locks import exclusive

SCHEMES = ("http", "https", "sqlite", "postgresql", "mysql", "mssql", "databricks")
RUN_KEY = "gtr.run_key"
Failure = (MlflowException, requests.RequestException, OperationalError)


@dataclass(frozen=True)
class RunFacts:
    """What an MLflow run is found by, which is its key, and what it is made with."""

    experiment: str
    run_name: str
    run_key: str
    tags: Mapping[str, str]
    params: Mapping[str, str]


def tracking_uri(workspace: Path) -> str:
    """MLFLOW_TRACKING_URI, or the workspace's own SQLite file; raises UserError for a URI that cannot work."""
    uri = os.environ.get("MLFLOW_TRACKING_URI")
    if not uri:
        return f"sqlite:///{workspace.absolute()}/mlflow.db"
    if urlparse(uri).scheme.partition("+")[0] not in SCHEMES:
        raise UserError(
            f"MLFLOW_TRACKING_URI='{uri}' is not a tracking store: give a server (http://host:5000) or a database "
            f"(sqlite:////absolute/path.db), or unset it to use {workspace / 'mlflow.db'}."
        )
    return uri


def is_server(workspace: Path) -> bool:
    """Whether the store is behind a server, whose answers take their time, and not a database that is at hand."""
    return urlparse(tracking_uri(workspace)).scheme in ("http", "https", "databricks")


def store_lock(workspace: Path) -> Path:
    """The lock under which the store, its experiments and its runs are created."""
    return workspace / "locks" / "mlflow.lock"


def connect(workspace: Path) -> MlflowClient:
    """A client of the store; the first one creates the database, alone."""
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)  # it logs what it raises, at length
    uri = tracking_uri(workspace)
    with exclusive(store_lock(workspace)):
        _create(uri)
        return MlflowClient(tracking_uri=uri, registry_uri=uri)


def _create(uri: str) -> None:
    """Make a SQLite store's tables in a file beside its place, and move it there when they are all made.

    A process killed amid MLflow's migrations leaves a database that MLflow can neither use nor mend.
    """
    path = Path(uri.removeprefix("sqlite:///"))
    if not uri.startswith("sqlite:///") or path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    for leftover in path.parent.glob(f".{path.name}.partial*"):
        leftover.unlink()
    partial = path.with_name(f".{path.name}.partial")
    made = f"sqlite:///{partial}"
    MlflowClient(tracking_uri=made, registry_uri=made)
    partial.replace(path)


def find_or_create_experiment(client: MlflowClient, workspace: Path, name: str) -> Experiment:
    """The experiment; a new one keeps its artifacts at GTR_ARTIFACTS (a folder or s3://...), if that is set.

    Otherwise a new one in a local database keeps them in `<workspace>/mlartifacts`, and a server decides itself. Call
    it with `store_lock` held. Raises UserError when the experiment was deleted.
    """
    found = client.get_experiment_by_name(name)
    if found is None:
        local = not client.tracking_uri.startswith(("http", "databricks"))
        root = os.environ.get("GTR_ARTIFACTS") or ((workspace.absolute() / "mlartifacts").as_uri() if local else None)
        try:
            client.create_experiment(name, artifact_location=root)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":  # another machine was first
                raise
        found = client.get_experiment_by_name(name)
    if found.lifecycle_stage != "active":
        raise UserError(
            f"the MLflow experiment '{name}' was deleted: restore it with "
            f"`mlflow experiments restore --experiment-id {found.experiment_id}`, or choose another name."
        )
    return found


def find_or_create_run(client: MlflowClient, workspace: Path, facts: RunFacts, *, running: bool) -> Run:
    """The run, with the tags and parameters that it lacks; `running` marks a finished one as going on.

    Call it with `store_lock` held. Raises UserError when its experiment was deleted.
    """
    experiment = find_or_create_experiment(client, workspace, facts.experiment).experiment_id
    found = client.search_runs([experiment], f"tags.`{RUN_KEY}` = '{facts.run_key}'", max_results=1)
    if found:
        run = found[0]
        if running:
            client.update_run(run.info.run_id, status="RUNNING")
    else:
        run = client.create_run(experiment, run_name=facts.run_name, tags={RUN_KEY: facts.run_key})
    params = [Param(key, value) for key, value in facts.params.items() if key not in run.data.params]
    tags = [RunTag(key, value) for key, value in facts.tags.items()]
    for start in range(0, max(len(params), len(tags)), 100):
        client.log_batch(run.info.run_id, params=params[start : start + 100], tags=tags[start : start + 100])
    return client.get_run(run.info.run_id)


def is_away(error: BaseException) -> bool:
    """Whether the store could not be reached or could not answer, as opposed to having refused."""
    link: BaseException | None = error
    while link is not None:
        if isinstance(link, requests.RequestException | OperationalError):
            return True
        if isinstance(link, MlflowException) and link.error_code == "TEMPORARILY_UNAVAILABLE":
            return True
        link = link.__cause__ or link.__context__
    return False
