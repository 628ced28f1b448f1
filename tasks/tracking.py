"""A run in MLflow: metrics, models and artifacts of finished stages, each delivered once.

Every message is kept in the run's outbox first and delivered in order, so a tracking server that is away delays what it
shows and nothing else: training goes on, and the next stage, the next run or `gtr sync` delivers.
"""

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, Run, RunTag

from gtr_core.errors import UserError
from gtr_core.files import read_json, write_json
from gtr_core.locks import exclusive
from tasks.metrics import read_metrics
from tasks.mlflow_store import Failure, connect, find_or_create_experiment, is_away, store_lock
from tasks.outbox import Message, Outbox
from tasks.record import StageRecord
from tasks.registry import Kind, ModelRequest, RegisteredVersion, register

log = logging.getLogger(__name__)

RUN_KEY = "gtr.run_key"
_BATCH = 1000  # metrics in one call, MLflow's limit
_PAUSE_S = 30.0  # between tries while the server is away


class Tracker:
    """One run in MLflow, found by its run key or created; a resumed run is the same MLflow run."""

    def __init__(
        self,
        workspace: Path,
        *,
        experiment: str,
        run_name: str,
        run_key: str,
        tags: Mapping[str, str] | None = None,
        params: Mapping[str, object] | None = None,
        running: bool = True,
    ) -> None:
        """Find or create the run; `running` marks a finished one as going on."""
        self.workspace = workspace.absolute()
        self.folder = self.workspace / "runs" / run_key
        self.experiment, self.run_name, self.run_key = experiment, run_name, run_key
        self.tags = {key: str(value) for key, value in (tags or {}).items()}
        self.params = {key: str(value) for key, value in (params or {}).items()}
        self.running = running
        self.failures = 0  # tries that found the server away
        self._client: MlflowClient | None = None
        self._run: Run | None = None
        self._away_until = 0.0
        self.folder.mkdir(parents=True, exist_ok=True)
        facts = {"experiment": experiment, "run_name": run_name, "tags": self.tags, "params": self.params}
        write_json(self.folder / "run.json", facts)
        self.sync()

    @classmethod
    def reopen(cls, workspace: Path, run_key: str) -> "Tracker":
        """The tracker of a run that this workspace knows; raises UserError when it does not."""
        path = workspace / "runs" / run_key / "run.json"
        if not path.exists():
            raise UserError(f"no run '{run_key}' in {workspace}: `gtr status` lists the runs.")
        return cls(workspace, run_key=run_key, running=False, **read_json(path))

    @property
    def run_id(self) -> str | None:
        """The MLflow run's id; None while no server has been reached."""
        return self._outbox().run_id

    @property
    def experiment_id(self) -> str | None:
        """The MLflow experiment's id; None while no server has been reached by this tracker."""
        return str(self._run.info.experiment_id) if self._run else None

    @property
    def pending(self) -> int:
        """How many messages are owed."""
        return len(self._outbox().pending)

    def deliver(self, record: StageRecord, *, evaluates: StageRecord | None = None) -> None:
        """Log the stage's metrics, once a run; with `evaluates` they carry the id of that stage's model as well."""
        subject = evaluates.key if evaluates else None
        self._send({"id": f"metrics:{record.key}", "kind": "metrics", "path": record.path, "subject": subject})

    def register_model(
        self,
        record: StageRecord,
        *,
        kind: Kind,
        name: str,
        directory: Path,
        step: int = 0,
        tags: Mapping[str, str] | None = None,
        members: Sequence[str] = (),
    ) -> RegisteredVersion | None:
        """Log the stage's files in `directory` as a model and a version of `name`; None while the server is away.

        The version gets the alias `<run>-latest`. `members` are the keys of the stages whose models it was merged
        from: those that this run has registered are logged as the run's inputs and named in the tag `gtr.members`.
        """
        inside = "" if directory == record.directory else directory.relative_to(record.directory).as_posix()
        request = ModelRequest(record, kind, name, inside, step, tags, list(members))
        self._send({"id": _model_message(record.key), "kind": "model", "request": asdict(request)})
        return self.registered(record)

    def registered(self, record: StageRecord) -> RegisteredVersion | None:
        """The model that this run has registered from the stage; None when it has not, or not yet."""
        found = self._outbox().delivered.get(_model_message(record.key))
        return RegisteredVersion(**found) if found else None

    def log_artifact(self, path: Path) -> None:
        """Copy the file or directory into the run's artifacts; a later one of the same name replaces it."""
        self._send({"id": f"artifact:{path.name}", "kind": "artifact", "path": str(path.absolute())})

    def finish(self, status: Literal["FINISHED", "FAILED", "KILLED"]) -> None:
        """End the MLflow run; the next tracker of the run key opens it again."""
        self._send({"id": "finish", "kind": "finish", "status": status})

    def sync(self, *, now: bool = False) -> int:
        """Deliver what is owed, in order; returns what is still owed, because the server is away.

        After a failure the server is left alone for half a minute, unless `now`. Raises what MLflow refuses.
        """
        with exclusive(Outbox(self.folder).lock_path):
            box = self._outbox()
            if now or time.monotonic() >= self._away_until:
                try:
                    client, run = self._connected(box)
                    while box.pending:
                        box.settle(_deliver(client, run, box, box.pending[0]))
                except Failure as error:
                    if not is_away(error):
                        raise
                    self._note_away(error, len(box.pending))
            return len(box.pending)

    def _send(self, message: Message) -> None:
        with exclusive(Outbox(self.folder).lock_path):
            self._outbox().add(message)
        self.sync()

    def _outbox(self) -> Outbox:
        return Outbox.read(self.folder)

    def _connected(self, box: Outbox) -> tuple[MlflowClient, Run]:
        if self._client is None or self._run is None:
            client = connect(self.workspace)
            with exclusive(store_lock(self.workspace)):
                self._run = self._find_or_create_run(client)
            self._client = client
            box.belong_to(self._run.info.run_id)
        return self._client, self._run

    def _find_or_create_run(self, client: MlflowClient) -> Run:
        experiment = find_or_create_experiment(client, self.workspace, self.experiment).experiment_id
        found = client.search_runs([experiment], f"tags.`{RUN_KEY}` = '{self.run_key}'", max_results=1)
        if found:
            run = found[0]
            if self.running:
                client.update_run(run.info.run_id, status="RUNNING")
        else:
            run = client.create_run(experiment, run_name=self.run_name, tags={RUN_KEY: self.run_key})
        params = [Param(key, value) for key, value in self.params.items() if key not in run.data.params]
        tags = [RunTag(key, value) for key, value in self.tags.items()]
        for start in range(0, max(len(params), len(tags)), 100):
            client.log_batch(run.info.run_id, params=params[start : start + 100], tags=tags[start : start + 100])
        return client.get_run(run.info.run_id)

    def _note_away(self, error: BaseException, owed: int) -> None:
        self.failures += 1
        self._away_until = time.monotonic() + _PAUSE_S
        log.warning(
            "MLflow is away (%s): %d messages of run %s are kept for the next stage or `gtr sync`",
            str(error).partition("\n")[0][:300],
            owed,
            self.run_name,
        )


def _model_message(stage_key: str) -> str:
    return f"model:{stage_key}"


def _deliver(client: MlflowClient, run: Run, box: Outbox, message: Message) -> Any:
    """Deliver one message; what it gives is remembered under its id."""
    run_id = run.info.run_id
    match message["kind"]:
        case "metrics":
            subject = box.delivered.get(_model_message(message["subject"]))
            model_id = subject["model_id"] if subject else None
            lines = read_metrics(Path(message["path"]))
            for start in range(0, len(lines), _BATCH):
                metrics = [
                    Metric(line.key, line.value, line.timestamp_ms, line.step, model_id=model_id)
                    for line in lines[start : start + _BATCH]
                ]
                client.log_batch(run_id, metrics=metrics)
            return len(lines)
        case "model":
            facts = message["request"]
            request = ModelRequest(**{**facts, "record": StageRecord.from_json(facts["record"])})
            known = [box.delivered.get(_model_message(key)) for key in request.members]
            members = [model["model_id"] for model in known if model]
            return asdict(register(client, client.get_run(run_id), request, members))
        case "artifact":
            path = Path(message["path"])
            if path.is_dir():
                client.log_artifacts(run_id, str(path), path.name)
            else:
                client.log_artifact(run_id, str(path))
        case "finish":
            client.set_terminated(run_id, message["status"])
    return None
