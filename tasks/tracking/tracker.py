"""A run in MLflow: metrics, models and artifacts of finished stages, each delivered once.

Every message is kept in the run's outbox first and delivered in order, so a tracking server that is away delays what it
shows and nothing else: training goes on, and the next stage, the next run or `gtr sync` delivers.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from gtr_core.util.errors import UserError
from gtr_core.util.files import read_json, write_json
from tasks.store.record import ModelKind, StageRecord
from tasks.tracking import messages
from tasks.tracking.aliases import Score
from tasks.tracking.background import Courier
from tasks.tracking.connection import RunFacts, is_server
from tasks.tracking.dataset import EvaluationSet
from tasks.tracking.delivery import Delivery
from tasks.tracking.messages import Message, model_of
from tasks.tracking.model_registry import ModelRequest, RegisteredVersion
from tasks.tracking.outbox import Outbox

_FAREWELL_S = 4.0


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
        home = workspace.absolute()
        self.folder, self.run_key = home / "runs" / run_key, run_key
        told = {key: str(value) for key, value in (tags or {}).items()}
        chosen = {key: str(value) for key, value in (params or {}).items()}
        facts = RunFacts(experiment, run_name, run_key, told, chosen)
        self._delivery = Delivery(home, self.folder, facts, running=running)
        self._courier = Courier(self.sync) if running and is_server(workspace) else None
        self._collected: list[Message] | None = None
        self.folder.mkdir(parents=True, exist_ok=True)
        kept = {"experiment": experiment, "run_name": run_name, "tags": told, "params": chosen}
        write_json(self.folder / "run.json", kept)
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
        return Outbox.read(self.folder).run_id

    @property
    def experiment_id(self) -> str | None:
        """The MLflow experiment's id; None while no server has been reached by this tracker."""
        run = self._delivery.run
        return str(run.info.experiment_id) if run else None

    @property
    def pending(self) -> int:
        """How many messages are owed."""
        return len(Outbox.read(self.folder).pending)

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
        if on:
            self._send(messages.PlayedSet(key=f"{on.context}:{on.digest}", on=on))
        more, subject = list(map(str, also)), evaluates.key if evaluates else None
        self._send(messages.StageMetrics(key=record.key, path=record.path, also=more, subject=subject, on=on))

    def register_model(
        self,
        record: StageRecord,
        *,
        kind: ModelKind,
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
        self._send(messages.StageModel(key=record.key, request=request, again=record.state == "done"))
        return self.registered(record)

    def score(
        self, record: StageRecord, *, evaluated: StageRecord, on: EvaluationSet, success: float, step: int
    ) -> None:
        """Let a registered stage compete for `<run key>-best` and `best` by its success on a validation set."""
        score = Score(success, step, self.run_key, on.identity, on.episodes)
        self._send(messages.ModelScore(key=record.key, subject=evaluated.key, score=score))

    def registered(self, record: StageRecord) -> RegisteredVersion | None:
        """The model that this run has registered from the stage; None when it has not, or not yet."""
        return model_of(Outbox.read(self.folder).delivered, record.key)

    def log_artifacts(self, *paths: Path, under: str = "") -> None:
        """Copy files into a folder of the run's artifacts; later ones of the same names replace them."""
        names = ",".join(path.name for path in paths)
        files = [str(path.absolute()) for path in paths]
        self._send(messages.Artifacts(key=f"{under}/{names}", paths=files, under=under))

    def log_traces(self, table: Path, of: str) -> None:
        """Trace the episodes of a table of `tasks.tracking.episode_samples`, once; `of` tells them from other runs'."""
        self._send(messages.Traces(key=of, path=str(table.absolute()), of=of))

    def finish(self, status: Literal["FINISHED", "FAILED", "KILLED"]) -> None:
        """End the MLflow run, when all is delivered; the next tracker of the run key opens it again.

        A killed run does not wait long: the next one delivers the rest.
        """
        self._send(messages.Finish(status=status))
        if self._courier is not None:
            self._courier.wait(_FAREWELL_S if status == "KILLED" else None)

    def sync(self, *, now: bool = False) -> int:
        """Deliver what is owed, in order; returns what is still owed, because the server is away.

        After a failure the server is left alone for a while, unless `now`. Raises what MLflow refuses.
        """
        return self._delivery.sync(now=now)

    @contextmanager
    def together(self) -> Iterator[None]:
        """Have what the block sends kept, and then delivered, at once."""
        self._collected = []
        try:
            yield
        finally:
            collected, self._collected = self._collected, None
            self._keep(collected)

    def _send(self, message: Message) -> None:
        if self._collected is None:
            self._keep([message])
        else:
            self._collected.append(message)

    def _keep(self, sent: Sequence[Message]) -> None:
        with Outbox.changing(self.folder) as box:
            box.add(sent)
        if self._courier is None:
            self.sync()
        else:
            self._courier.call()
