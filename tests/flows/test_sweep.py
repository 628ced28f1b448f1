"""A sweep on this machine: one cell fails, the other does not care, and what failed can be had alone."""

import json
import shlex
from pathlib import Path

import pytest
from mlflow import MlflowClient

from flows.runs.events import read_events
from flows.runs.sweep_spec import cells, read_sweep
from gtr_core.util.files import read_json
from tests.flows.conftest import SMALL, Finished, config, gtr, last_line

SWEEP = f"""
base: {config("kl")}
set: {{{", ".join(setting.replace("=", ": ") for setting in SMALL)}}}
axes: {{method: [ppo, turbo_sft]}}
"""


@pytest.mark.long
@pytest.mark.timeout(1500)
def test_a_failed_cell_stops_no_other_and_is_retried_alone(kl_run: Finished, tmp_path: Path) -> None:
    """The kinds of stages that both need are computed once; a sweep that is complete computes nothing."""
    file, home = tmp_path / "methods.yaml", tmp_path / "home"
    file.write_text(SWEEP)
    (home / "store").mkdir(parents=True)
    (home / "store" / "guide").write_text("in the way")
    server = {"PREFECT_API_URL": read_json(kl_run.home / "prefect" / "server.json")["url"]}

    failed = gtr(home, "sweep", str(file), "iterations=1", "--jobs", "2", "--json", **server)
    assert failed.returncode == 1, failed.stderr
    ppo, sft = json.loads(failed.stdout.splitlines()[-1])["cells"]
    assert (ppo["state"], sft["state"], sft["stage"]) == ("finished", "failed", "guide-1")
    assert sft["error"].startswith("FileExistsError") and sft["error"] in Path(sft["log"]).read_text()
    for words in (f"turbo_sft s1 failed at guide-1: {sft['error']}", sft["log"], sft["retry"]):
        assert words in failed.stdout
    starts = [r["key"] for r in map(read_json, (home / "store" / "warm_start").glob("*/stage.json"))]
    assert len(starts) == 1

    (home / "store" / "guide").unlink()
    retried = last_line(gtr(home, *shlex.split(sft["retry"])[1:], "--json", **server))
    assert retried["run"] == sft["run"]
    before = [len(list(read_events(home / "runs" / cell["run"]))) for cell in (ppo, sft)]
    again = gtr(home, "sweep", str(file), "iterations=1", "--json", **server)
    assert [cell["state"] for cell in last_line(again)["cells"]] == ["complete", "complete"]
    assert [len(list(read_events(home / "runs" / cell["run"]))) for cell in (ppo, sft)] == before, "nothing ran"

    client = MlflowClient(f"sqlite:///{home}/mlflow.db")
    (experiment,) = client.search_experiments(filter_string="name = 'cards3'")
    found = client.search_runs([experiment.experiment_id], "tags.`gtr.sweep.methods` LIKE '%'")
    assert {run.data.tags["gtr.sweep.methods"] for run in found} == {"ppo s1", "turbo_sft s1"}
    assert {(run.data.tags["gtr.sweep"], run.info.status) for run in found} == {("methods", "FINISHED")}


@pytest.mark.long
@pytest.mark.timeout(1500)
def test_a_run_that_was_there_before_belongs_to_every_sweep_that_names_it(kl_run: Finished, tmp_path: Path) -> None:
    client = MlflowClient(f"sqlite:///{kl_run.home}/mlflow.db")
    for name in ("first", "second"):
        (tmp_path / f"{name}.yaml").write_text(SWEEP.replace("ppo, turbo_sft", "turbo_kl"))
        done = last_line(gtr(kl_run.home, "sweep", str(tmp_path / f"{name}.yaml"), "--json"))
        assert [(cell["run"], cell["state"]) for cell in done["cells"]] == [(kl_run.record["run"], "complete")]
        assert f"gtr.sweep.{name}" in done["mlflow"].replace("%60", "`").replace("%20", " ")
    tags = client.get_run(kl_run.record["mlflow_run_id"]).data.tags
    assert tags["gtr.sweep"] == "second" and tags["gtr.sweep.first"] == tags["gtr.sweep.second"] == "turbo_kl s1"
    (cell,) = cells(read_sweep(tmp_path / "first.yaml"), kl_run.home)
    assert cell.run.key == kl_run.record["run"], "the name of a sweep decides no result"
