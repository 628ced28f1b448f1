"""The versions of registered models: all that match a search, a logged model's own, and a new one."""

from collections.abc import Mapping

from mlflow import MlflowClient
from mlflow.entities import LoggedModel
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException


def versions(client: MlflowClient, search: str) -> list[ModelVersion]:
    """Every model version that matches MLflow's filter, page by page."""
    found: list[ModelVersion] = []
    token = None
    while True:
        page = client.search_model_versions(search, max_results=1000, page_token=token)
        found += page
        token = page.token
        if not token:
            return found


def find_version(client: MlflowClient, name: str, model: LoggedModel) -> str | None:
    """The version that the logged model is of the registered one; None when it is none."""
    found = client.search_model_versions(f"name = '{name}' and tags.`gtr.model_id` = '{model.model_id}'")
    return next((str(version.version) for version in found), None)


def create_version(client: MlflowClient, name: str, model: LoggedModel, tags: Mapping[str, str]) -> str:
    """A version of the registered model, which the first version creates."""
    try:
        return _next_version(client, name, model, tags)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":  # another run was first
            raise
    return _next_version(client, name, model, tags)


def _next_version(client: MlflowClient, name: str, model: LoggedModel, tags: Mapping[str, str]) -> str:
    created = client.create_model_version(
        name,
        # The location, not models:/<id>: MLflow would look that id up in its global store in place of this client's.
        source=model.artifact_location,
        run_id=model.source_run_id,
        tags={**tags, "gtr.model_id": model.model_id},
        model_id=model.model_id,
    )
    return str(created.version)
