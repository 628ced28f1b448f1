"""The record of a run in MLflow: family, environment, datasets, aliases, and models that any process can load."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from mlflow import MlflowClient

from gtr_core.util.files import read_json
from tests.flows.conftest import ROOT, Finished, environment, gtr, last_line

pytestmark = pytest.mark.slow


def client(run: Finished) -> MlflowClient:
    uri = f"sqlite:///{run.home}/mlflow.db"
    return MlflowClient(uri, uri)


def test_from_a_teacher_one_walks_to_checkpoints_and_rollouts_by_tags_alone(kl_run: Finished) -> None:
    mlflow = client(kl_run)
    teacher = mlflow.get_model_version_by_alias("gtr-teacher-cards3", f"{kl_run.record['run']}-latest").tags
    assert (teacher["gtr.merge"], teacher["gtr.density"], teacher["gtr.weighting"]) == ("ties", "0.8", "sma")
    assert (teacher["gtr.mode"], teacher["gtr.window"], teacher["gtr.weights"]) == ("full_buffer", "all", "0.5,0.5")
    first, second = (mlflow.get_logged_model(model_id).tags for model_id in teacher["gtr.members"].split(","))
    assert second["gtr.parent"] and mlflow.get_logged_model(second["gtr.parent"]).tags == first
    start = mlflow.get_logged_model(first["gtr.parent"]).tags
    assert start["gtr.stage_key"] == first["gtr.input.start"] == second["gtr.input.start"]
    for iteration, member in ((1, first), (2, second)):
        assert member["gtr.rollouts"] == kl_run.stage("rollout", iteration).name
        assert (kl_run.home / "store" / member["gtr.stage"] / member["gtr.stage_key"] / "agent").is_dir()
        assert (kl_run.home / "store" / "rollout" / member["gtr.rollouts"] / "turns.safetensors").is_file()


def test_the_run_has_its_config_its_environment_and_its_evaluation_sets(kl_run: Finished) -> None:
    mlflow = client(kl_run)
    run = mlflow.get_run(kl_run.record["mlflow_run_id"])
    config = yaml.safe_load(Path(mlflow.download_artifacts(run.info.run_id, "config.yaml")).read_text())
    assert config["method"] == "turbo_kl" and config["rollout"]["turns"] == 4
    facts = read_json(Path(mlflow.download_artifacts(run.info.run_id, "environment.json")))
    assert facts["packages"]["torch"] and facts["cpus"] >= 1 and run.data.tags["gtr.device"] == facts["device"]
    if facts["git"]:
        assert run.data.tags["mlflow.source.git.commit"] == facts["git"]["commit"]
    assert not [name for name in run.data.params if name.startswith(("execution.", "retention.", "tracking.", "name"))]
    sets = {i.tags[0].value: i.dataset for i in run.inputs.dataset_inputs}
    assert sets.keys() == {"validation", "test"}
    every = [
        read_json(kl_run.home / "store" / "evaluate" / s["key"] / "episodes.json")
        for s in kl_run.record["stages"]
        if s["stage"] == "evaluate"
    ]
    played = next(found for found in every if "-test-" in found["set"])
    assert sets["test"].name == played["set"] and played["digest"].startswith(sets["test"].digest)
    assert json.loads(sets["test"].source)["sha256"] == played["digest"]


def test_best_is_by_validation_success_and_the_same_after_a_second_run(kl_run: Finished) -> None:
    mlflow = client(kl_run)
    for kind, stage in (("agent", "update"), ("teacher", "merge")):
        name = f"gtr-{kind}-cards3"
        scored = [
            v for v in mlflow.search_model_versions(f"name = '{name}'") if v.run_id == kl_run.record["mlflow_run_id"]
        ]
        success = {}
        for version in scored:
            evaluated = version.tags["gtr.stage_key"]
            found = [json.loads(p.read_text()) for p in (kl_run.home / "store" / "evaluate").glob("*/stage.json")]
            mine = next(s for s in found if s["inputs"].get("model") == evaluated and s["config"]["split"] == "valid")
            success[version.version] = (-mine["metrics"][f"{kind}/success_rate"], int(version.tags["gtr.iteration"]))
            assert float(version.tags["gtr.valid_success"]) == mine["metrics"][f"{kind}/success_rate"]
        best = mlflow.get_model_version_by_alias(name, f"{kl_run.record['run']}-best")
        assert best.version == min(success, key=lambda v: success[v]) and best.tags["gtr.stage"] == stage


LOAD = """
import base64, json, sys
import mlflow, pandas as pd
mlflow.set_tracking_uri(sys.argv[1])
model = mlflow.pyfunc.load_model(sys.argv[2])
row = model.input_example
text = model.predict(row)
raw = model.predict(pd.DataFrame({"image": [base64.b64decode(row.image[0])] * 2, "prompt": [row.prompt[0]] * 2}))
assert list(raw.answer) == [text.answer[0]] * 2
print(json.dumps({"rows": text.to_dict("records"), "in": model.metadata.get_input_schema().input_names(),
                  "out": model.metadata.get_output_schema().input_names()}))
"""


@pytest.mark.parametrize("model", ["gtr-agent-cards3@best", "gtr-teacher-cards3@best", "gtr-teacher-cards3/1"])
def test_a_registered_model_answers_in_a_fresh_process(kl_run: Finished, tmp_path: Path, model: str) -> None:
    """With nothing but the package and the store's address: no GTR_HOME, another current folder."""
    kept = {k: v for k, v in environment(tmp_path).items() if k != "GTR_HOME"}
    uri = f"sqlite:///{kl_run.home}/mlflow.db"
    command = [sys.executable, "-c", LOAD, uri, f"models:/{model}"]
    path = {"PYTHONPATH": f"{ROOT}:{kept['PYTHONPATH']}"}
    done = subprocess.run(
        command, env=kept | path, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False
    )
    told = last_line(done)
    assert (told["in"], told["out"]) == (["image", "prompt"], ["answer", "thought", "action"])
    row = told["rows"][0]
    assert row["answer"].startswith(row["thought"]) and row["action"] in row["answer"]


def test_a_models_directory_holds_no_code_and_no_pickle(kl_run: Finished) -> None:
    models = list((kl_run.home / "mlartifacts").rglob("MLmodel"))
    assert len(models) >= 5  # the start, two agents and two teachers
    for path in models:
        flavors = yaml.safe_load(path.read_text())["flavors"]
        assert list(flavors) == ["python_function"] and flavors["python_function"]["loader_module"] == "tasks.pyfunc"
        suffixes = {p.suffix for p in path.parent.rglob("*") if p.is_file()}
        assert suffixes <= {"", ".json", ".safetensors", ".jinja"}, "a start has its chat template"


def test_eval_takes_alias_version_and_model_id(kl_run: Finished) -> None:
    version = client(kl_run).get_model_version_by_alias("gtr-agent-cards3", f"{kl_run.record['run']}-latest")
    uris = (f"models:/gtr-agent-cards3/{version.version}", f"models:/{version.tags['gtr.model_id']}")
    uris += (f"models:/gtr-agent-cards3@{kl_run.record['run']}-latest",)
    figures = [last_line(gtr(kl_run.home, "eval", uri, "--episodes", "3", "--json"))["figures"] for uri in uris]
    assert figures[0] == figures[1] == figures[2]


def test_a_start_can_be_played_as_any_model(kl_run: Finished) -> None:
    """By its registered name and as RUN:start: the figures of the run's own evaluation of it."""
    for start in (f"{kl_run.record['name']}:start", "models:/gtr-start-cards3/1"):
        told = last_line(gtr(kl_run.home, "eval", start, "--episodes", "6", "--json"))
        assert told["figures"]["success_rate"] == kl_run.record["metrics"]["final_start/greedy_success_rate"]


def test_every_evaluation_leaves_a_few_episodes_to_look_at(kl_run: Finished) -> None:
    mlflow, run_id = client(kl_run), kl_run.record["mlflow_run_id"]
    names = {Path(found.path).name for found in mlflow.list_artifacts(run_id, "episodes")}
    during = {"start-0", *(f"{who}-{k}" for who in ("agent", "teacher", "mean") for k in (1, 2))}
    final = {"start", "agent", "best", "teacher", "mean"}
    assert names == {f"{name}.{suffix}" for name in during | final for suffix in ("html", "csv")}
    page = Path(mlflow.download_artifacts(run_id, "episodes/agent-1.html")).read_text()
    assert page.count("data:image/png;base64,") >= 4, "four episodes of a turn or more"
