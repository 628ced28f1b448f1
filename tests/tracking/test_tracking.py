"""Tracking against a real SQLite store and, where a server matters, a real MLflow server."""

from pathlib import Path

import pytest
from mlflow import MlflowClient

from gtr_core.util.errors import UserError
from tasks.store.metrics import MetricWriter
from tasks.store.record import StageRecord
from tasks.store.store import StageStore
from tasks.tracking.connection import tracking_uri
from tasks.tracking.model_files import directory_sha256
from tasks.tracking.model_uri import model_directory
from tasks.tracking.tracker import Tracker
from tests.stages.made import run_stage


@pytest.fixture
def store(workspace: Path) -> StageStore:
    return StageStore(workspace / "store")


def stage(
    store: StageStore, name: str, iteration: int, inputs: dict[str, object] | None = None, run: str = ""
) -> StageRecord:
    def compute(directory: Path) -> dict[str, float]:
        (directory / "model").mkdir()
        (directory / "model" / "weights.bin").write_bytes(b"w%d" % iteration * 1000)
        (directory / "notes.json").write_text("{}")
        writer = MetricWriter(directory)
        for part in range(3):
            writer.log({f"{name}/loss": 1.0 / (part + 1), f"{name}/nan": float("nan")}, step=iteration * 100 + part)
        return {"env_steps": iteration * 100.0}

    return run_stage(store, name, iteration=iteration, inputs=inputs, config={"run": run}, compute=compute)


def tracker(workspace: Path, run_key: str = "key-1", **changes: object) -> Tracker:
    facts: dict[str, object] = {"experiment": "cards", "run_name": "kl seed 1", "tags": {"gtr.method": "turbo_kl"}}
    return Tracker(workspace, run_key=run_key, **{**facts, "params": {"seed": 1}, **changes})


def client(workspace: Path) -> MlflowClient:
    return MlflowClient(tracking_uri(workspace), tracking_uri(workspace))


def test_a_resumed_run_is_the_same_run_without_doubled_steps(workspace: Path, store: StageStore) -> None:
    first = tracker(workspace)
    for iteration in (1, 2):
        first.deliver(stage(store, "update", iteration))
    first.finish("FAILED")
    (workspace / "runs" / "key-1" / "delivered.json").unlink()  # what a kill between delivery and note leaves behind
    again = tracker(workspace)
    assert again.run_id == first.run_id
    assert client(workspace).get_run(again.run_id).info.status == "RUNNING"
    for iteration in (1, 2, 3):
        again.deliver(stage(store, "update", iteration))
    again.finish("FINISHED")
    history = client(workspace).get_metric_history(again.run_id, "update/loss")
    assert [point.step for point in history] == [100, 101, 102, 200, 201, 202, 300, 301, 302]
    assert len(client(workspace).get_metric_history(again.run_id, "update/nan")) == 9
    run = client(workspace).get_run(again.run_id)
    assert run.info.status == "FINISHED"
    assert run.data.tags["gtr.run_key"] == "key-1" and run.data.params == {"seed": "1"}
    assert run.info.run_name == "kl seed 1"


def test_metric_time_is_that_of_measurement_so_shared_stages_agree(workspace: Path, store: StageStore) -> None:
    record = stage(store, "update", 1)
    runs = [tracker(workspace, run_key=key) for key in ("a", "b")]
    for run in runs:
        run.deliver(record)
    histories = [client(workspace).get_metric_history(run.run_id, "update/loss") for run in runs]
    assert [point.timestamp for point in histories[0]] == [point.timestamp for point in histories[1]]


def test_models_are_versions_with_files_family_and_alias(workspace: Path, store: StageStore) -> None:
    run = tracker(workspace)
    agents = [stage(store, "update", k) for k in (1, 2)]
    for record in agents:
        run.register_model(
            record, kind="agent", name="gtr-agent-points", directory=record.directory / "model", step=100
        )
    merged = stage(store, "merge", 2, {"members": agents})
    teacher = run.register_model(
        merged,
        kind="teacher",
        name="gtr-teacher-points",
        directory=merged.directory / "model",
        step=200,
        tags={"density": ".8"},
        members=[agent.key for agent in agents],
    )
    assert teacher is not None and teacher.uri == "models:/gtr-teacher-points/1"
    mlflow = client(workspace)
    version = mlflow.get_model_version_by_alias("gtr-teacher-points", "key-1-latest")
    assert version.tags["gtr.stage_key"] == merged.key and version.tags["density"] == ".8"
    assert version.tags["gtr.sha256"] == directory_sha256(merged, "model") and version.tags["gtr.iteration"] == "2"
    latest = mlflow.get_model_version_by_alias("gtr-agent-points", "key-1-latest")
    assert str(latest.version) == "2"
    seen = mlflow.get_run(run.run_id)
    member_ids = {model.model_id for model in seen.inputs.model_inputs}
    assert member_ids == set(version.tags["gtr.members"].split(",")) and len(member_ids) == 2
    steps = {model.model_id: model.step for model in seen.outputs.model_outputs}
    assert len(steps) == 3 and steps[teacher.model_id] == 200
    files = model_directory(workspace, "models:/gtr-teacher-points@key-1-latest")
    assert (files / "weights.bin").read_bytes() == (merged.directory / "model" / "weights.bin").read_bytes()


def test_registering_twice_gives_one_model_even_after_a_kill(workspace: Path, store: StageStore) -> None:
    record = stage(store, "update", 1)
    first = tracker(workspace).register_model(
        record, kind="agent", name="gtr-agent-points", directory=record.directory / "model"
    )
    (workspace / "runs" / "key-1" / "delivered.json").unlink()
    second = tracker(workspace).register_model(
        record, kind="agent", name="gtr-agent-points", directory=record.directory / "model"
    )
    assert first == second
    assert len(client(workspace).search_model_versions("name = 'gtr-agent-points'")) == 1
    other = tracker(workspace, run_key="other", run_name="other").register_model(
        record, kind="agent", name="gtr-agent-points", directory=record.directory
    )
    assert other is not None and other.version == "2"


def test_bytes_of_a_model_are_stored_once(workspace: Path, store: StageStore) -> None:
    record = stage(store, "update", 1)
    tracker(workspace).register_model(
        record, kind="agent", name="gtr-agent-points", directory=record.directory / "model"
    )
    stored = record.directory / "model" / "weights.bin"
    linked = [path for path in (workspace / "mlartifacts").rglob("weights.bin") if path.samefile(stored)]
    assert len(linked) == 1 and stored.stat().st_nlink == 2


def test_metrics_of_an_evaluation_carry_the_model(workspace: Path, store: StageStore) -> None:
    run = tracker(workspace)
    agent = stage(store, "update", 1)
    version = run.register_model(agent, kind="agent", name="gtr-agent-points", directory=agent.directory)
    assert version is not None
    run.deliver(stage(store, "evaluate", 1, {"agent": agent}), evaluates=agent)
    metrics = client(workspace).get_logged_model(version.model_id).metrics
    assert any(metric.key == "evaluate/loss" for metric in metrics)


def test_artifacts_are_in_the_workspace(workspace: Path, tmp_path: Path) -> None:
    report = tmp_path / "report.html"
    run = tracker(workspace)
    for text in ("old", "new"):
        report.write_text(text)
        run.log_artifacts(report)
    assert run.pending == 0
    assert [path.read_text() for path in (workspace / "mlartifacts").rglob("report.html")] == ["new"]


def test_a_tracking_uri_that_cannot_work_is_one_sentence(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "./mlruns")
    with pytest.raises(UserError, match=r"'\./mlruns' is not a tracking store"):
        tracker(workspace)


def test_a_deleted_experiment_is_one_sentence(workspace: Path) -> None:
    run = tracker(workspace)
    assert run.experiment_id is not None
    client(workspace).delete_experiment(run.experiment_id)
    with pytest.raises(UserError, match="'cards' was deleted"):
        tracker(workspace)


def test_an_unknown_run_is_one_sentence(workspace: Path) -> None:
    with pytest.raises(UserError, match="no run 'nope'"):
        Tracker.reopen(workspace, "nope")


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("models:/nope@best", "it has gtr-agent-points"),
        ("models:/gtr-agent-points@nope", "'gtr-agent-points' has the aliases key-1-latest"),
        ("models:/gtr-agent-points/9", "no model models:/gtr-agent-points/9"),
        ("models:/m-123", "no model models:/m-123"),
        ("somewhere", r"write models:/<name>@<alias>"),
    ],
)
def test_an_unknown_model_is_one_sentence(workspace: Path, store: StageStore, uri: str, words: str) -> None:
    record = stage(store, "update", 1)
    tracker(workspace).register_model(record, kind="agent", name="gtr-agent-points", directory=record.directory)
    with pytest.raises(UserError, match=words):
        model_directory(workspace, uri)
