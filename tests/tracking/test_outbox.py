"""What a run owes MLflow comes out of its outbox as it was put in, by this code or by older."""

from pathlib import Path
from typing import Any

import pytest

from gtr_core.util.files import read_json, write_json
from tasks.store.record import StageRecord
from tasks.store.results import Merged
from tasks.store.store import StageStore
from tasks.tracking.aliases import Score
from tasks.tracking.messages import (
    KINDS,
    Artifacts,
    Finish,
    Message,
    ModelScore,
    PlayedSet,
    StageMetrics,
    StageModel,
    Traces,
)
from tasks.tracking.model_registry import ModelRequest, RegisteredVersion
from tasks.tracking.outbox import Outbox
from tasks.tracking.tracker import Tracker
from tests.tracking.test_aliases import VALID
from tests.tracking.test_tracking import client, stage, tracker

RECORD = Merged(
    "merge", 1, "k", "done", "/s/merge/k", 1.5, {"a": {"sha256": "0", "size": 1}}, {"m": 0.5}, {}, "", "cpu", "h"
)
REQUEST = ModelRequest(RECORD, "teacher", "t", "teacher", 7, {"density": ".8"}, ["x", "y"], "z", "/example.json")
MESSAGES: list[Message] = [
    StageModel(key="k", request=REQUEST, again=True),
    StageMetrics(key="k", path="/s/merge/k", also=["/spending"], subject="x", on=VALID),
    StageMetrics(key="l", path="/s/merge/l", also=[]),
    ModelScore(key="k", subject="x", score=Score(0.5, 7, "run", "set", 6)),
    PlayedSet(key="validation:d", on=VALID),
    Traces(key="run:agent", path="/table.csv", of="run:agent"),
    Artifacts(key="episodes/a.html", paths=["/a.html"], under="episodes"),
    Finish(status="KILLED"),
]


def test_every_kind_of_message_is_read_back_as_it_was_owed(tmp_path: Path) -> None:
    assert {type(message) for message in MESSAGES} == set(KINDS.values())
    with Outbox.changing(tmp_path) as box:
        box.add(MESSAGES)
    assert Outbox.read(tmp_path).pending == MESSAGES == Outbox.read(tmp_path).pending


def test_what_was_delivered_is_read_back_and_a_stage_is_not_owed_twice(tmp_path: Path) -> None:
    version = RegisteredVersion("t", "1", "m-1", "0")
    with Outbox.changing(tmp_path) as box:
        box.add(MESSAGES)
    with Outbox.changing(tmp_path) as box:
        box.settle([(message, version if isinstance(message, StageModel) else None) for message in MESSAGES])
    box = Outbox.read(tmp_path)
    assert not box.pending and box.delivered["model:k"] == version and box.delivered["metrics:k"] is None
    box.add(MESSAGES)
    assert {message.kind for message in box.pending} == {"model", "artifacts", "finish"}, (
        "one to be done again, two of a run"
    )


def older(record: StageRecord, evaluated: StageRecord, report: Path, *, oldest: bool) -> list[dict[str, Any]]:
    """`pending.json` as older code wrote it; the `oldest` left out what it had nothing to say of."""
    on = {
        "name": "valid-6",
        "digest": "d" * 64,
        "episodes": 6,
        "context": "validation",
        "source": "{}",
        "drifting": False,
    }
    request = {
        "record": record.to_json(),
        "kind": "agent",
        "name": "gtr-agent-points",
        "directory": "model",
        "step": 100,
    }
    request |= {"tags": {"gtr.seed": "1"}, "members": [], "parent": "", "example": ""}
    score = {"success": 0.5, "env_steps": 100, "run_key": "key-1", "valid_set": "d" * 64, "episodes": 6}
    new = {} if oldest else {"also": [], "set": None}
    told: list[dict[str, Any]] = [
        {"id": f"model:{record.key}", "kind": "model", "request": request} | ({} if oldest else {"again": True}),
        {"id": f"metrics:{record.key}", "kind": "metrics", "path": record.path, "subject": None} | new,
        {"id": f"dataset:validation:{on['digest']}", "kind": "dataset", "set": on},
        {"id": f"metrics:{evaluated.key}", "kind": "metrics", "path": evaluated.path, "subject": record.key, "set": on},
        {"id": f"score:{evaluated.key}", "kind": "score", "subject": record.key, "score": score},
        {"id": f"artifacts:/{report.name}", "kind": "artifacts", "paths": [str(report)], "under": ""},
        {"id": "finish", "kind": "finish", "status": "FINISHED"},
    ]
    return told if oldest else [{**message, "at": number} for number, message in enumerate(told, 1)]


@pytest.mark.parametrize("oldest", [False, True])
def test_what_older_code_owes_is_delivered(workspace: Path, tmp_path: Path, *, oldest: bool) -> None:
    store, report = StageStore(workspace / "store"), tmp_path / "report.html"
    report.write_text("a report")
    record, evaluated = stage(store, "update", 1), stage(store, "evaluate", 1)
    folder = workspace / "runs" / "key-1"
    run_id = tracker(workspace).run_id
    noted = {"model:other": {"name": "n", "version": "1", "model_id": "m", "sha256": "0"}, "metrics:other": 3}
    write_json(folder / "delivered.json", {"run_id": run_id, "delivered": noted})
    write_json(folder / "pending.json", older(record, evaluated, report, oldest=oldest))

    run = Tracker.reopen(workspace, "key-1")
    assert run.pending == 0 and run.run_id == run_id
    mlflow, registered = client(workspace), run.registered(record)
    assert (
        registered and mlflow.get_model_version_by_alias("gtr-agent-points", "best").tags["gtr.stage_key"] == record.key
    )
    assert len(mlflow.get_metric_history(run_id, "update/loss")) == 3
    assert any(metric.key == "evaluate/loss" for metric in mlflow.get_logged_model(registered.model_id).metrics)
    told = mlflow.get_run(run_id)
    assert told.info.status == "FINISHED" and [i.dataset.name for i in told.inputs.dataset_inputs] == ["valid-6"]
    assert [path.read_text() for path in (workspace / "mlartifacts").rglob("report.html")] == ["a report"]
    assert read_json(folder / "delivered.json")["delivered"].keys() > noted.keys()
