"""What a message of a run's outbox comes to in MLflow; each may be repeated."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Metric, Run
from mlflow.exceptions import MlflowException

from gtr_core.util.locks import exclusive
from tasks.store.metrics import read_metrics
from tasks.store.record import StageRecord
from tasks.tracking.aliases import BEST, Score, give_score
from tasks.tracking.connection import store_lock
from tasks.tracking.dataset import EvaluationSet
from tasks.tracking.model_registry import ModelRequest, RegisteredVersion, register, slug
from tasks.tracking.outbox import Message, Outbox
from tasks.tracking.traces import log_traces

_BATCH = 1000  # metrics in one call, MLflow's limit


def model_message(stage_key: str | None) -> str:
    """The id of the message that registers a stage's model."""
    return f"model:{stage_key}"


def deliver(client: MlflowClient, run: Run, run_key: str, workspace: Path, box: Outbox, message: Message) -> Any:
    """Deliver one of the messages of a run's outbox; what it gives is remembered under its id."""
    run_id = run.info.run_id
    match message["kind"]:
        case "metrics":
            return _metrics(client, run_id, box, message)
        case "model":
            facts = message["request"]
            request = ModelRequest(**{**facts, "record": StageRecord.from_json(facts["record"])})
            known = {key: model.model_id for key in (*request.members, request.parent) if (model := _model(box, key))}
            return asdict(register(client, run, run_key, request, known))
        case "score":
            if model := _model(box, message["subject"]):
                with exclusive(store_lock(workspace)):
                    alias = f"{slug(run_key)}-{BEST}"
                    give_score(client, model.name, model.version, Score(**message["score"]), alias)
        case "dataset":
            with exclusive(store_lock(workspace)):
                _note_set(client, run_id, EvaluationSet(**message["set"]))
        case "traces":
            log_traces(client, run, Path(message["path"]), message["of"])
        case "artifacts":
            for path in message["paths"]:
                client.log_artifact(run_id, path, message["under"] or None)
        case "finish":
            client.set_terminated(run_id, message["status"])
    return None


def _note_set(client: MlflowClient, run_id: str, played: EvaluationSet) -> None:
    """Name the set as the run's input.

    The store's lock reaches as far as the workspace. Where a run of another workspace notes a set that is new to the
    store at the same moment, MLflow refuses the second, which finds the set when it asks again.
    """
    try:
        client.log_inputs(run_id, datasets=[played.as_input()])
    except MlflowException as error:
        if "unique" not in str(error).lower():
            raise
        client.log_inputs(run_id, datasets=[played.as_input()])


def _metrics(client: MlflowClient, run_id: str, box: Outbox, message: Mapping[str, Any]) -> int:
    model = _model(box, message["subject"])
    on = EvaluationSet(**message["set"]) if message.get("set") else None
    folders = [message["path"], *message.get("also", ())]  # one owed since before that was sent has but the first
    lines = [line for folder in folders for line in read_metrics(Path(folder))]
    for start in range(0, len(lines), _BATCH):
        metrics = [
            Metric(
                line.key,
                line.value,
                line.timestamp_ms,
                line.step,
                model_id=model.model_id if model else None,
                dataset_name=on.name if on else None,
                dataset_digest=on.short_digest if on else None,
            )
            for line in lines[start : start + _BATCH]
        ]
        client.log_batch(run_id, metrics=metrics)
    return len(lines)


def _model(box: Outbox, stage_key: str | None) -> RegisteredVersion | None:
    found = box.delivered.get(model_message(stage_key))
    return RegisteredVersion(**found) if found else None
