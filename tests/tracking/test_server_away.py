"""A tracking server that is away, comes, and is written to by many."""

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from mlflow import MlflowClient

from tasks.store.store import StageStore
from tasks.tracking.connection import tracking_uri
from tasks.tracking.tracker import Tracker

from .test_tracking import stage, tracker


@pytest.mark.slow
def test_nothing_is_lost_while_the_server_is_away(
    workspace: Path, serve: Callable[[], None], caplog: pytest.LogCaptureFixture
) -> None:
    store = StageStore(workspace / "store")
    run = tracker(workspace)
    started = time.monotonic()
    agent = stage(store, "update", 1)
    assert (
        run.register_model(agent, kind="agent", name="gtr-agent-points", directory=agent.directory / "model", step=100)
        is None
    )
    for iteration in (1, 2):
        run.deliver(stage(store, "update", iteration))
    teacher = stage(store, "merge", 1, {"members": [agent]})
    run.register_model(
        teacher, kind="teacher", name="gtr-teacher-points", directory=teacher.directory / "model", members=[agent.key]
    )
    run.finish("FINISHED")
    assert time.monotonic() - started < 10, "a server that is away costs little"
    assert (run.pending, run.run_id) == (5, None)
    assert caplog.text.count("MLflow is away") == 1, "it is not asked again for a while"

    serve()
    again = Tracker.reopen(workspace, "key-1")
    assert again.pending == 0 and again.run_id
    client = MlflowClient(tracking_uri(workspace))
    mlflow_run = client.get_run(again.run_id)
    assert mlflow_run.info.status == "FINISHED"
    points = client.get_metric_history(again.run_id, "update/loss")
    assert [point.step for point in points] == [100, 101, 102, 200, 201, 202]
    assert len(mlflow_run.inputs.model_inputs) == 1 and len(mlflow_run.outputs.model_outputs) == 2
    stored = list((workspace / "remote").rglob("weights.bin"))
    assert len(stored) == 2, "a server's artifacts are uploaded"
    assert client.get_model_version_by_alias("gtr-teacher-points", "key-1-latest").tags["gtr.stage_key"] == teacher.key


WRITER = """
import sys
from pathlib import Path
from tasks.execution.environment import quiet_environment
workspace = Path(sys.argv[1])
quiet_environment(workspace)
from tasks.store.metrics import MetricWriter
from tasks.store.store import StageStore
from tasks.tracking.tracker import Tracker
from tests.stages.made import run_stage
tracker = Tracker(workspace, experiment="cards", run_name=sys.argv[2], run_key=sys.argv[2])
def compute(directory):
    writer = MetricWriter(directory)
    for step in range(50):
        writer.log({f"m{part}": step for part in range(10)}, step=step)
    (directory / "weights.bin").write_text(sys.argv[2])
    return {}
for iteration in range(4):
    record = run_stage(StageStore(workspace / "store"), "update", iteration=iteration, config={"run": sys.argv[2]},
                       compute=compute)
    tracker.register_model(record, kind="agent", name="gtr-agent-points", directory=record.directory, step=iteration)
    tracker.deliver(record)
assert tracker.pending == 0, tracker.pending
tracker.finish("FINISHED")
"""


RUNS = ["a", "b", "c", "d"]


def writers(python: str, workspace: Path) -> list[subprocess.Popen[bytes]]:
    """A process a run, all started at once."""
    return [subprocess.Popen([python, "-c", WRITER, str(workspace), name]) for name in RUNS]


def everything_is_there(uri: str) -> None:
    """Every point, model and version of the four runs, and no doubled one."""
    client = MlflowClient(uri, uri)
    experiment = client.get_experiment_by_name("cards")
    runs = client.search_runs([experiment.experiment_id])
    assert sorted(run.info.run_name for run in runs) == RUNS
    for run in runs:
        # Every iteration logs steps 0 to 49 anew: 4 x 50 points a metric, told apart by their times.
        assert len(client.get_metric_history(run.info.run_id, "m7")) == 200
        assert len(run.outputs.model_outputs) == 4
    assert len(client.search_model_versions("name = 'gtr-agent-points'")) == 16
    for name in RUNS:
        latest = client.get_model_version_by_alias("gtr-agent-points", f"{name}-latest")
        assert (latest.tags["gtr.run_key"], latest.tags["gtr.iteration"]) == (name, "3")


@pytest.mark.slow
def test_four_runs_at_once_create_one_store_and_lose_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert [writer.wait(timeout=300) for writer in writers(sys.executable, tmp_path)] == [0, 0, 0, 0]
    everything_is_there(tracking_uri(tmp_path))
