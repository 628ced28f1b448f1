"""What a run has told MLflow and what it still has to: two small files that survive the process.

`run.json` says which run it is, `delivered.json` what MLflow has, `pending.json` what it is owed, in order.
"""

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gtr_core.util.files import read_json, write_json
from gtr_core.util.locks import exclusive

Message = dict[str, Any]  # `id`, `kind` and what that kind needs; JSON
ONCE = (
    "metrics",
    "model",
    "score",
    "dataset",
    "traces",
)  # kinds whose content never changes, because a stage's does not


@dataclass
class Outbox:
    """The messages of one run as they lie in its folder; `changing` one, nobody else does."""

    folder: Path
    run_id: str | None = None
    delivered: dict[str, Any] = field(default_factory=dict)  # by message id: what the delivery gave
    pending: list[Message] = field(default_factory=list)

    @classmethod
    def read(cls, folder: Path) -> "Outbox":
        """The outbox as it lies in the folder; empty when there is none."""
        box = cls(folder)
        if (folder / "delivered.json").exists():
            state = read_json(folder / "delivered.json")
            box.run_id, box.delivered = state["run_id"], state["delivered"]
        if (folder / "pending.json").exists():
            box.pending = read_json(folder / "pending.json")
        return box

    @classmethod
    @contextmanager
    def changing(cls, folder: Path) -> Iterator["Outbox"]:
        """The outbox as it lies in the folder, for changes."""
        with exclusive(folder / ".outbox.lock"):
            yield cls.read(folder)

    def add(self, messages: Iterable[Message]) -> None:
        """Owe more messages: a stage's only if it is neither delivered (unless marked `again`) nor owed, else in place
        of its older one."""
        before = list(self.pending)
        for message in messages:
            if message["kind"] in ONCE:
                delivered = message["id"] in self.delivered and not message.get("again")
                if delivered or any(owed["id"] == message["id"] for owed in self.pending):
                    continue
            else:
                self.pending = [owed for owed in self.pending if owed["id"] != message["id"]]
            self.pending.append({**message, "at": time.time_ns()})
        if self.pending != before:
            write_json(self.folder / "pending.json", self.pending)

    def settle(self, settled: Sequence[tuple[Message, Any]]) -> None:
        """Messages were delivered, and what each gave; a newer one that has come in place of one is still owed."""
        if not settled:
            return
        messages = [message for message, _ in settled]
        self.pending = [owed for owed in self.pending if owed not in messages]
        self.delivered |= {message["id"]: result for message, result in settled if message["kind"] in ONCE}
        self._write_delivered()
        write_json(self.folder / "pending.json", self.pending)

    def belong_to(self, run_id: str) -> None:
        """Start over when MLflow has another run now (the old one was deleted, or it is another store)."""
        if self.run_id != run_id:
            self.run_id, self.delivered = run_id, {}
            self._write_delivered()

    def _write_delivered(self) -> None:
        write_json(self.folder / "delivered.json", {"run_id": self.run_id, "delivered": self.delivered})
