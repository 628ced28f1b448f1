"""Links into MLflow's UI, which opens on its view for language-model traces unless told that runs are wanted."""

import json
from collections.abc import Sequence
from urllib.parse import quote

UI = "http://127.0.0.1:5000"  # where `gtr ui` serves it
_VIEW = "workflowType=machine_learning"


def run_link(ui: str, experiment_id: str, run_id: str) -> str:
    """The page of one run; `ui` is the server's address."""
    return f"{ui.rstrip('/')}/#/experiments/{experiment_id}/runs/{run_id}?{_VIEW}"


def charts_link(ui: str, experiment_id: str, search: str = "") -> str:
    """The curves of an experiment's runs on shared charts, of those that match the search (tags.`gtr.sweep` = 'x')."""
    found = f"&searchFilter={quote(search)}" if search else ""
    return f"{ui.rstrip('/')}/#/experiments/{experiment_id}/runs?compareRunsMode=CHART&{_VIEW}{found}"


def compare_link(ui: str, experiment_id: str, run_ids: Sequence[str]) -> str:
    """Some runs side by side."""
    runs, experiments = quote(json.dumps(list(run_ids))), quote(json.dumps([experiment_id]))
    return f"{ui.rstrip('/')}/#/compare-runs?runs={runs}&experiments={experiments}&{_VIEW}"


def model_link(ui: str, name: str, version: str) -> str:
    """One version of a registered model."""
    return f"{ui.rstrip('/')}/#/models/{quote(name)}/versions/{version}?{_VIEW}"
