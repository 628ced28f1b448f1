"""One real small experiment through Prefect and MLflow, and what a user does with it afterwards."""

import json
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from mlflow import MlflowClient

from flows.experiment import plan
from flows.runs.events import read_progress
from flows.runs.run import run_of
from gtr_core.config.loading import load_experiment
from tasks.store.store import StageStore
from tests.flows.conftest import SMALL, Finished, config, environment, gtr, last_line, small_run
from tests.reporting.made import fetches_nothing

pytestmark = pytest.mark.slow


def test_the_record_names_run_stages_metrics_agent_and_teacher(kl_run: Finished) -> None:
    record = kl_run.record
    assert {"run", "mlflow_run_id", "stages", "metrics", "agent", "teacher"} <= record.keys()
    assert {s["state"] for s in record["stages"]} == {"done"}
    for kind in ("agent", "teacher"):
        assert set(record[kind]) == {"uri", "path", "sha256"}
        assert (Path(record[kind]["path"]) / "weights.safetensors").is_file()
        assert record[kind]["uri"].startswith(f"models:/gtr-{kind}-cards3/")


def test_warnings_stand_in_the_record_and_in_the_status(kl_run: Finished) -> None:
    """A model of twelve supervised steps hardly writes valid answers: the rule for that speaks."""
    told = [w for w in kl_run.record["warnings"] if w["rule"] == "invalid_answers"]
    assert len(told) == 1
    status = gtr(kl_run.home, "status", kl_run.record["run"])
    assert f"WARNING invalid answers at iteration {told[0]['iteration']}" in status.stdout


def test_the_ratio_of_new_to_old_is_one_before_the_first_step_of_every_update(kl_run: Finished) -> None:
    """Invariant 21, as every run reports it."""
    for k in (1, 2):
        metrics = json.loads((kl_run.stage("update", k) / "stage.json").read_text())["metrics"]
        assert metrics["ppo/ratio_start_error"] < 1e-5


def test_the_first_teacher_is_the_start_and_the_next_one_is_not(kl_run: Finished) -> None:
    """Invariant 10: KL is 0 against the start itself, and positive once the teacher is a merge of what was learned."""
    kl = [json.loads((kl_run.stage("guide", k) / "stage.json").read_text())["metrics"] for k in (1, 2)]
    assert kl[0]["guidance/k1_abs_max"] < 1e-4
    assert kl[1]["guidance/k1_abs_max"] > 1e-3


def test_prefect_shows_readable_stage_names_and_keeps_no_data(kl_run: Finished) -> None:
    database = sqlite3.connect(kl_run.home / "prefect" / "prefect.db")
    names = [row[0] for row in database.execute("select name from task_run")]
    assert {"warm_start", "rollout-1", "guide-2", "update-2", "merge-2", "evaluate-2-teacher"} <= set(names)
    stored = "".join(str(row) for row in database.execute("select data from task_run_state"))
    assert len(stored) < 400 * len(names)


def test_no_call_leaves_the_machine(kl_run: Finished, tmp_path: Path) -> None:
    """Neither the run nor Prefect's server nor MLflow looks up or connects to any address but loopback ones."""
    log = kl_run.home / "network.log"
    assert not log.exists(), log.read_text()
    look_up = "import socket; socket.getaddrinfo('192.0.2.1', 80, flags=socket.AI_NUMERICHOST)"
    subprocess.run([sys.executable, "-c", look_up], env=environment(tmp_path), check=True)
    assert "192.0.2.1" in (tmp_path / "network.log").read_text(), "the watch sees what it watches for"


def test_the_plan_is_what_is_run(kl_run: Finished) -> None:
    experiment = load_experiment(Path(config("kl")), SMALL)
    progress = read_progress(kl_run.home / "runs" / kl_run.record["run"])
    planned = plan(run_of(experiment, kl_run.home), StageStore(kl_run.home / "store"))
    assert progress.finished and progress.done == len(planned)
    assert [r.key for r in planned.values()] == [s["key"] for s in kl_run.record["stages"]]
    assert {r.state for r in planned.values()} == {"reused"}


def test_mlflow_has_one_run_with_curves_models_and_members(kl_run: Finished) -> None:
    client = MlflowClient(f"sqlite:///{kl_run.home}/mlflow.db")
    run = client.get_run(kl_run.record["mlflow_run_id"])
    assert run.info.status == "FINISHED"
    assert run.data.tags["gtr.method"] == "turbo_kl" and run.data.params["ppo.ratio"] == "token"
    curve = client.get_metric_history(run.info.run_id, "agent/success_rate")
    assert [m.step for m in curve] == [32, 64]
    versions = client.search_model_versions("name = 'gtr-teacher-cards3'")
    assert {len(v.tags["gtr.members"].split(",")) for v in versions} == {1, 2}
    latest = client.get_model_version_by_alias("gtr-agent-cards3", f"{kl_run.record['run']}-latest")
    assert latest.tags["gtr.sha256"] == kl_run.record["agent"]["sha256"]


def test_the_weights_are_stored_once(kl_run: Finished) -> None:
    """Files of models in MLflow's artifact store are the very files of the stage store."""
    weights = list((kl_run.home / "mlartifacts").rglob("weights.safetensors"))
    assert len(weights) == 4
    assert {p.stat().st_nlink for p in weights} == {2}


def test_the_same_command_again_reuses_every_stage_and_doubles_nothing(kl_run: Finished) -> None:
    def reused() -> int:
        with sqlite3.connect(kl_run.home / "prefect" / "prefect.db") as database:
            return int(database.execute("select count(*) from task_run_state where name = 'Reused'").fetchone()[0])

    before = reused()
    again = small_run(kl_run.home, "kl")
    assert {s["state"] for s in again.record["stages"]} == {"reused"}
    assert again.record["mlflow_run_id"] == kl_run.record["mlflow_run_id"]
    assert again.record["metrics"] == kl_run.record["metrics"]
    client = MlflowClient(f"sqlite:///{kl_run.home}/mlflow.db")
    assert len(client.get_metric_history(kl_run.record["mlflow_run_id"], "agent/success_rate")) == 2
    assert reused() - before == len(kl_run.record["stages"])


@pytest.mark.parametrize("method", ["ppo", "sft"])
def test_the_other_arms_share_the_warm_start(kl_run: Finished, method: str) -> None:
    other = small_run(kl_run.home, method)
    states = {(s["stage"], s["iteration"]): s["state"] for s in other.record["stages"]}
    assert states["warm_start", None] == "reused" and states["rollout", 1] == "reused"
    assert states["update", 2] == "done"
    shown = gtr(kl_run.home, "status", other.record["run"], "--json")
    assert last_line(shown)["state"] == "finished"


def test_lora_runs_by_the_same_path(kl_run: Finished) -> None:
    record = small_run(kl_run.home, "kl", ["model.train=lora", "model.lora.rank=4"]).record
    assert (Path(record["agent"]["path"]) / "adapter_model.safetensors").is_file()
    assert record["metrics"]["ppo/ratio_start_error"] < 1e-5


def test_eval_plays_agent_teacher_and_registered_model_alike(kl_run: Finished) -> None:
    name = kl_run.record["run"]
    agent = last_line(gtr(kl_run.home, "eval", name, "--episodes", "6", "--json"))
    registered = last_line(gtr(kl_run.home, "eval", kl_run.record["agent"]["uri"], "--episodes", "6", "--json"))
    assert agent["figures"] == registered["figures"]
    assert agent["figures"]["success_rate"] == kl_run.record["metrics"]["final_agent/greedy_success_rate"]
    teacher = last_line(gtr(kl_run.home, "eval", f"{name}:teacher", "--episodes", "6", "--json"))
    assert teacher["figures"]["return_mean"] == kl_run.record["metrics"]["final_teacher/greedy_return_mean"]


def test_report_is_one_page_without_network(kl_run: Finished, tmp_path: Path) -> None:
    """Invariant 41: it has the teacher beside the agent, through training and at the end."""
    page = tmp_path / "report.html"
    result = gtr(kl_run.home, "report", kl_run.record["run"], "--out", str(page))
    assert result.returncode == 0, result.stderr
    html = page.read_text()
    assert "<svg" in html and "final agent" in html and "gtr run" in html
    assert "turbo_kl teacher" in html and "turbo_kl agent" in html and "Agent, teacher" in html
    assert fetches_nothing(html)


def test_a_damaged_stage_is_refused_and_recomputed_on_request(kl_run: Finished) -> None:
    damaged = kl_run.stage("merge", 2) / "teacher" / "weights.safetensors"
    whole = damaged.read_bytes()
    damaged.unlink()  # the model in MLflow is another name of the same file: break only this one
    damaged.write_bytes(whole[:-4] + b"\0\1\0\1")
    refused = gtr(kl_run.home, "run", config("kl"), *SMALL)
    assert refused.returncode == 2
    assert "weights.safetensors does not match" in refused.stderr and "--recompute-damaged" in refused.stderr
    mended = gtr(kl_run.home, "run", config("kl"), *SMALL, "--recompute-damaged", "--json")
    assert last_line(mended)["teacher"]["sha256"] == kl_run.record["teacher"]["sha256"]
    assert damaged.read_bytes() == whole
