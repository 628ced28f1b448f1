"""From an MLflow model URI to a directory of files."""

import re
from collections.abc import Mapping
from pathlib import Path

from mlflow import MlflowClient
from mlflow.artifacts import download_artifacts
from mlflow.exceptions import MlflowException

from gtr_core.util.errors import UserError
from tasks.tracking.connection import connect
from tasks.tracking.model_registry import FILES, FILES_FREED

_FORMS = re.compile(r"models:/(?P<name>[^/@]+)(?:@(?P<alias>[^/@]+)|/(?P<version>\d+))?")


def model_directory(workspace: Path, uri: str) -> Path:
    """The files of `models:/<name>@<alias>`, `models:/<name>/<version>` or `models:/<model id>`.

    They are where they are when that is a local folder, else fetched. Raises UserError when there is no such model, or
    `gtr gc` has freed its tensors.
    """
    form = _FORMS.fullmatch(uri)
    if form is None:
        raise UserError(
            f"'{uri}' is not a model: write models:/<name>@<alias>, models:/<name>/<version> or models:/<model id>."
        )
    client = connect(workspace)
    try:
        location, tags = _find(client, form["name"], form["alias"], form["version"])
    except MlflowException as error:
        if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE", "NOT_FOUND"):
            raise
        raise UserError(f"no model {uri} in {client.tracking_uri}; {_known(client, form['name'])}.") from error
    if tags.get(FILES) == FILES_FREED:
        run, iteration = tags["gtr.run_key"], tags["gtr.iteration"]
        raise UserError(
            f"The tensors of {uri}, iteration {iteration} of {run}, were freed by `gtr gc`: run its experiment with "
            f"--restore-freed to compute them again, or take another version; {_known(client, form['name'])}."
        )
    return Path(download_artifacts(location, tracking_uri=client.tracking_uri))


def _find(client: MlflowClient, name: str, alias: str | None, version: str | None) -> tuple[str, Mapping[str, str]]:
    """Where the model's files are, and its tags."""
    if alias is None and version is None:
        model = client.get_logged_model(name)
        return str(model.artifact_location), model.tags
    found = client.get_model_version(name, version) if version else client.get_model_version_by_alias(name, alias)
    return str(client.get_model_version_download_uri(name, found.version)), found.tags


def _known(client: MlflowClient, name: str) -> str:
    for model in client.search_registered_models(f"name = '{name}'"):
        return f"'{name}' has the aliases {', '.join(sorted(model.aliases)) or 'none'}"
    names = sorted(model.name for model in client.search_registered_models(max_results=20))
    return f"it has {', '.join(names) or 'no registered model yet'}"
