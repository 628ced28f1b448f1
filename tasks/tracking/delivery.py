"""From a run's outbox to MLflow: in order, and not for a while where the server is away."""

import logging
import time
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Run

from gtr_core.util.locks import exclusive
from tasks.tracking.connection import Failure, RunFacts, connect, find_or_create_run, is_away, store_lock
from tasks.tracking.messages import Message, Recipient
from tasks.tracking.model_registry import RegisteredVersion
from tasks.tracking.outbox import Outbox

log = logging.getLogger(__name__)

_PAUSE_S = 30.0  # between tries while the server is away
_PATIENCE = 10  # and as many times what the last try took: one that hangs costs training a tenth of its time at most


class Delivery:
    """Takes what lies in a run's outbox to MLflow, where the run is found by its key or created."""

    def __init__(self, workspace: Path, folder: Path, facts: RunFacts, *, running: bool) -> None:
        """`folder` has the outbox; `running` marks a finished run as going on."""
        self.workspace, self.folder = workspace, folder
        self.facts, self.running = facts, running
        self.run: Run | None = None  # None while no server has been reached
        self._client: MlflowClient | None = None
        self._away_until = 0.0

    def sync(self, *, now: bool) -> int:
        """Deliver what is owed; returns how many messages still are, because the server is away.

        After a failure the server is left alone for a while, unless `now`. Raises what MLflow refuses.
        """
        with exclusive(self.folder / ".delivery.lock"):
            started = time.monotonic()
            if now or started >= self._away_until:
                try:
                    client, run = self._connected()
                    while (box := Outbox.read(self.folder)).pending:
                        self._deliver(client, run, box)
                except Failure as error:
                    if not is_away(error):
                        raise
                    pause = max(_PAUSE_S, _PATIENCE * (time.monotonic() - started))
                    self._away_until = time.monotonic() + pause
                    log.warning(
                        "MLflow is away (%s): %d messages of run %s are kept for the next stage or `gtr sync`",
                        str(error).partition("\n")[0][:300],
                        len(Outbox.read(self.folder).pending),
                        self.facts.run_name,
                    )
            return len(Outbox.read(self.folder).pending)

    def _deliver(self, client: MlflowClient, run: Run, box: Outbox) -> None:
        """Deliver all that is owed; killed amid it, the messages are delivered again."""
        to = Recipient(client, run, self.facts.run_key, self.workspace, box.delivered)
        settled: list[tuple[Message, RegisteredVersion | None]] = []
        try:
            for message in box.pending:
                result = message.deliver(to)
                settled.append((message, result))
                box.delivered[message.id] = result  # a score needs the model that came before it
        finally:
            with Outbox.changing(self.folder) as changed:
                changed.settle(settled)

    def _connected(self) -> tuple[MlflowClient, Run]:
        if self._client is None or self.run is None:
            client = connect(self.workspace)
            with exclusive(store_lock(self.workspace)):
                self.run = find_or_create_run(client, self.workspace, self.facts, running=self.running)
            self._client = client
            with Outbox.changing(self.folder) as box:
                box.belong_to(self.run.info.run_id)
        return self._client, self.run
