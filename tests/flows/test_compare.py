"""A real run on the comparison's side: what its stages leave for it, in files, in MLflow and in Prefect."""

import json
import urllib.request
from pathlib import Path

import pytest
from mlflow import MlflowClient

from gtr_core.util.files import read_json
from tests.flows.conftest import Finished, gtr, last_line

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def test_every_final_episode_is_kept_with_its_deal_and_best_is_an_evaluation_of_its_own(kl_run: Finished) -> None:
    finals = {}
    for stage in kl_run.record["stages"]:
        directory = kl_run.home / "store" / stage["stage"] / stage["key"]
        manifest = read_json(directory / "stage.json")
        if stage["stage"] == "evaluate" and manifest["config"]["split"] == "test":
            finals[manifest["config"]["who"]] = directory
    assert set(finals) == {"start", "agent", "best", "teacher", "mean"}
    played = {who: [json.loads(line) for line in (d / "greedy.jsonl").open()] for who, d in finals.items()}
    deals = [[row["deal"] for row in rows] for rows in played.values()]
    assert len(deals[0]) == 6 and all(each == deals[0] for each in deals), "all play the same deals"
    assert all(sorted(json.loads(deal)) == json.loads(deal) for deal in deals[0]), "whatever the order of the cards"
    metrics = kl_run.record["metrics"]
    chosen = metrics["final_best/iteration"]
    same = [played["agent"][i]["texts"] == played["best"][i]["texts"] for i in range(6)]
    assert chosen in (1.0, 2.0) and (chosen == 1.0 or all(same))


def test_start_and_plain_mean_have_their_points_on_the_validation_curve(kl_run: Finished) -> None:
    client = MlflowClient(f"sqlite:///{kl_run.home}/mlflow.db")
    steps = {
        who: [m.step for m in client.get_metric_history(kl_run.record["mlflow_run_id"], f"{who}/success_rate")]
        for who in ("start", "agent", "teacher", "mean")
    }
    assert steps == {"start": [0], "agent": [32, 64], "teacher": [32, 64], "mean": [32, 64]}


def test_cost_grows_with_the_checkpoints_in_mlflow_and_is_in_status(kl_run: Finished) -> None:
    """At each update: the seconds of rollout, guide and update so far, and of the merges before it."""
    client = MlflowClient(f"sqlite:///{kl_run.home}/mlflow.db")
    history = client.get_metric_history(kl_run.record["mlflow_run_id"], "cost/training_hours")
    before, told = 0.0, []
    for stage in kl_run.record["stages"]:
        if stage["stage"] in ("rollout", "guide", "update", "merge"):
            before += stage["seconds"] / 3600
        if stage["stage"] == "update":
            told.append(pytest.approx(before))
    assert [m.step for m in history] == [32, 64] and [m.value for m in history] == told
    cost = last_line(gtr(kl_run.home, "status", str(kl_run.record["run"]), "--json"))["cost"]
    stages = [kl_run.home / "store" / s["stage"] / s["key"] / "stage.json" for s in kl_run.record["stages"]]
    assert cost["cost/device_hours"] == pytest.approx(sum(read_json(path)["seconds"] for path in stages) / 3600)
    tokens = client.get_metric_history(kl_run.record["mlflow_run_id"], "rollout/tokens_generated")
    assert cost["cost/tokens_generated"] > sum(m.value for m in tokens)


def test_prefect_holds_the_runs_progress_and_its_place_in_mlflow(kl_run: Finished) -> None:
    url = read_json(kl_run.home / "prefect" / "server.json")["url"]
    name = kl_run.record["run"].replace("_", "-")
    of_the_run = {"artifacts": {"key": {"any_": [f"progress-{name}", f"mlflow-{name}"]}}}
    request = urllib.request.Request(
        f"{url}/artifacts/filter",
        data=json.dumps(of_the_run).encode(),
        headers={"Content-Type": "application/json"},
        method="POST",
    )
    with urllib.request.urlopen(request, timeout=20) as answer:
        newest_first = sorted(json.load(answer), key=lambda artifact: str(artifact["created"]), reverse=True)
    # Other workspaces' runs of this name may have come to this server since: the first of each type stays.
    found = {artifact["type"]: artifact for artifact in newest_first}
    assert found["progress"]["data"] == 100.0
    assert kl_run.record["mlflow_run_id"] in found["markdown"]["data"]


def test_compare_and_report_take_a_real_run(kl_run: Finished, tmp_path: Path) -> None:
    table = gtr(kl_run.home, "compare", "cards3-turbo_kl-s1")
    assert table.returncode == 0, table.stderr
    assert "turbo_kl best agent" in table.stdout and "One seed: no deviation" in table.stdout
    page = tmp_path / "report.html"
    written = gtr(kl_run.home, "report", "cards3-turbo_kl-s1", "--out", str(page))
    assert written.returncode == 0 and written.stdout.strip() == str(page), written.stderr
    assert "through training" in page.read_text() and "#/compare-runs?" in page.read_text()
    refused = gtr(kl_run.home, "compare", "cards3-turbo_kl-s1", "--metric", "succes_rate")
    assert refused.returncode == 2 and "did you mean 'success_rate'?" in refused.stderr
