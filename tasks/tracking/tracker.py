"""A run in MLflow: metrics, models and artifacts of finished stages, each delivered once.

Every message is kept in the run's outbox first and delivered in order, so a tracking server that is away delays what it
shows and nothing else: training goes on, and the next stage, the next run or `gtr sync` delivers.
"""

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from mlflow import MlflowClient
from mlflow.entities import Param, Run, RunTag

from gtr_core.util.errors import UserError
from gtr_core.util.files import read_json, write_json
from gtr_core.util.locks import exclusive
from tasks.store.record import StageRecord
from tasks.tracking.aliases import Score
from tasks.tracking.background import Courier
from tasks.tracking.connection import Failure, connect, find_or_create_experiment, is_away, is_server, store_lock
from tasks.tracking.dataset import EvaluationSet
from tasks.tracking.messages import deliver, model_message
from tasks.tracking.model_registry import Kind, ModelRequest, RegisteredVersion
from tasks.tracking.outbox import Message, Outbox

log = logging.getLogger(__name__)

RUN_KEY = "gtr.run_key"
_FAREWELL_S = 4.0
_PAUSE_S = 30.0  # between tries while the server is away
_PATIENCE = (
    10  # and as many times what the last try took: a server that hangs costs training a tenth of its time at most
)


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
        """Find or create the run; `running` marks a finished one as going on.

        A running one's messages to a server are delivered by a thread while the run goes on, and what MLflow refuses is
        raised by a later call; `finish` waits for all of it. A database is told at once: two threads of Python would
        hold each other up for longer than that takes.
        """
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
        self._courier = Courier(self.sync) if running and is_server(workspace) else None
        self._collected: list[Message] | None = None
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

    def deliver(
        self,
        record: StageRecord,
        *,
        evaluates: StageRecord | None = None,
        on: EvaluationSet | None = None,
        also: Sequence[Path] = (),
    ) -> None:
        """Log the stage's metrics, and those in the folders `also`, once a run.

        With `evaluates` they carry the id of that stage's model; `on` becomes a dataset of the run, which they carry.
        """
        message: Message = {"id": f"metrics:{record.key}", "kind": "metrics", "path": record.path}
        message |= {"also": list(map(str, also))}
        message |= {"subject": evaluates.key if evaluates else None, "set": asdict(on) if on else None}
        if on:
            self._send({"id": f"dataset:{on.context}:{on.digest}", "kind": "dataset", "set": asdict(on)})
        self._send(message)

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
        parent: str = "",
        example: Path | None = None,
    ) -> RegisteredVersion | None:
        """Log the stage's files in `directory` as a model and a version of `name`; None while that is to be delivered.

        The version gets the alias `<run key>-latest`.

        Args:
            record: the finished stage; one that was just computed gives freed versions of it their files back.
            kind: agent or teacher.
            name: of the registered model.
            directory: inside the stage's.
            step: environment steps.
            tags: beside those of run, stage and family.
            members: keys of the stages whose models it was merged from: those that this run has registered are logged
                as the run's inputs and named in the tag `gtr.members`.
            parent: key of the stage whose model it was trained from, named in the tag `gtr.parent`.
            example: a JSON file, MLflow's input example.
        """
        inside = "" if directory == record.directory else directory.relative_to(record.directory).as_posix()
        shown = str(example.absolute()) if example else ""
        request = ModelRequest(record, kind, name, inside, step, tags, list(members), parent, shown)
        message: Message = {"id": model_message(record.key), "kind": "model", "request": asdict(request)}
        self._send(message | {"again": record.state == "done"})
        return self.registered(record)

    def score(
        self, record: StageRecord, *, evaluated: StageRecord, on: EvaluationSet, success: float, step: int
    ) -> None:
        """Let a registered stage compete for `<run key>-best` and `best` by its success on a validation set."""
        score = Score(success, step, self.run_key, on.identity, on.episodes)
        message = {"id": f"score:{record.key}", "kind": "score", "subject": evaluated.key, "score": asdict(score)}
        self._send(message)

    def registered(self, record: StageRecord) -> RegisteredVersion | None:
        """The model that this run has registered from the stage; None when it has not, or not yet."""
        found = self._outbox().delivered.get(model_message(record.key))
        return RegisteredVersion(**found) if found else None

    def log_artifacts(self, *paths: Path, under: str = "") -> None:
        """Copy files into a folder of the run's artifacts; later ones of the same names replace them."""
        names = ",".join(path.name for path in paths)
        files = [str(path.absolute()) for path in paths]
        self._send({"id": f"artifacts:{under}/{names}", "kind": "artifacts", "paths": files, "under": under})

    def log_traces(self, table: Path, of: str) -> None:
        """Trace the episodes of a table of `tasks.tracking.episode_samples`, once; `of` tells them from other runs'."""
        self._send({"id": f"traces:{of}", "kind": "traces", "path": str(table.absolute()), "of": of})

    def finish(self, status: Literal["FINISHED", "FAILED", "KILLED"]) -> None:
        """End the MLflow run, when all is delivered; the next tracker of the run key opens it again.

        A killed run does not wait long: the next one delivers the rest.
        """
        self._send({"id": "finish", "kind": "finish", "status": status})
        if self._courier is not None:
            self._courier.wait(_FAREWELL_S if status == "KILLED" else None)

    def sync(self, *, now: bool = False) -> int:
        """Deliver what is owed, in order; returns what is still owed, because the server is away.

        After a failure the server is left alone for a while, unless `now`. Raises what MLflow refuses.
        """
        with exclusive(self.folder / ".delivery.lock"):
            started = time.monotonic()
            if now or started >= self._away_until:
                try:
                    client, run = self._connected()
                    while (box := self._outbox()).pending:
                        self._deliver(client, run, box)
                except Failure as error:
                    if not is_away(error):
                        raise
                    pause = max(_PAUSE_S, _PATIENCE * (time.monotonic() - started))
                    self._away_until = time.monotonic() + pause
                    self._note_away(error, self.pending)
            return self.pending

    @contextmanager
    def together(self) -> Iterator[None]:
        """Have what the block sends kept, and then delivered, at once."""
        self._collected = []
        try:
            yield
        finally:
            messages, self._collected = self._collected, None
            self._keep(messages)

    def _send(self, message: Message) -> None:
        if self._collected is None:
            self._keep([message])
        else:
            self._collected.append(message)

    def _keep(self, messages: Sequence[Message]) -> None:
        with Outbox.changing(self.folder) as box:
            box.add(messages)
        if self._courier is None:
            self.sync()
        else:
            self._courier.call()

    def _deliver(self, client: MlflowClient, run: Run, box: Outbox) -> None:
        """Deliver all that is owed; killed amid it, the messages are delivered again."""
        settled: list[tuple[Message, Any]] = []
        try:
            for message in box.pending:
                result = deliver(client, run, self.run_key, self.workspace, box, message)
                settled.append((message, result))
                box.delivered[message["id"]] = result  # a score needs the model that came before it
        finally:
            with Outbox.changing(self.folder) as changed:
                changed.settle(settled)

    def _outbox(self) -> Outbox:
        return Outbox.read(self.folder)

    def _connected(self) -> tuple[MlflowClient, Run]:
        if self._client is None or self._run is None:
            client = connect(self.workspace)
            with exclusive(store_lock(self.workspace)):
                self._run = self._find_or_create_run(client)
            self._client = client
            with Outbox.changing(self.folder) as box:
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
        log.warning(
            "MLflow is away (%s): %d messages of run %s are kept for the next stage or `gtr sync`",
            str(error).partition("\n")[0][:300],
            owed,
            self.run_name,
        )
