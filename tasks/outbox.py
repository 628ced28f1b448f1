"""What a run has told MLflow and what it still has to: two small files that survive the process.

`run.json` says which run it is, `delivered.json` what MLflow has, `pending.json` what it is owed, in order.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gtr_core.files import read_json, write_json

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
    """The messages of one run, read from and written to its folder; hold the folder's lock around a change."""

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

    @property
    def lock_path(self) -> Path:
        """The lock of this outbox."""
        return self.folder / ".tracking.lock"

    def add(self, message: Message, *, again: bool = False) -> None:
        """Owe one more message: a stage's only if it is neither delivered (unless `again`) nor owed, else in place of
        its older one."""
        if message["kind"] in ONCE:
            delivered = message["id"] in self.delivered and not again
            if delivered or any(owed["id"] == message["id"] for owed in self.pending):
                return
        else:
            self.pending = [owed for owed in self.pending if owed["id"] != message["id"]]
        self.pending.append(message)
        write_json(self.folder / "pending.json", self.pending)

    def settle(self, result: Any) -> None:
        """The first message owed was delivered and gave `result`."""
        message = self.pending.pop(0)
        if message["kind"] in ONCE:
            self.delivered[message["id"]] = result
            self._write_delivered()
        write_json(self.folder / "pending.json", self.pending)

    def belong_to(self, run_id: str) -> None:
        """Start over when MLflow has another run now (the old one was deleted, or it is another store)."""
        if self.run_id != run_id:
            self.run_id, self.delivered = run_id, {}
            self._write_delivered()

    def _write_delivered(self) -> None:
        write_json(self.folder / "delivered.json", {"run_id": self.run_id, "delivered": self.delivered})
