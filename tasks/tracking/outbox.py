"""What a run has told MLflow and what it still has to: two small files that survive the process.

`run.json` says which run it is, `delivered.json` what MLflow has, `pending.json` what it is owed, in order.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import tasks.store.results  # noqa: F401 - the kinds that records are read as
from gtr_core.util.files import read_json, write_json
from gtr_core.util.locks import exclusive
from tasks.store.record import StageRecord
from tasks.tracking.aliases import Score
from tasks.tracking.dataset import EvaluationSet
from tasks.tracking.messages import KINDS, Message
from tasks.tracking.model_registry import ModelRequest, RegisteredVersion


@dataclass
class Outbox:
    """The messages of one run as they lie in its folder; `changing` one, nobody else does."""

    folder: Path
    run_id: str | None = None
    delivered: dict[str, RegisteredVersion | None] = field(default_factory=dict)  # by message id: what that gave
    pending: list[Message] = field(default_factory=list)

    @classmethod
    def read(cls, folder: Path) -> "Outbox":
        """The outbox as it lies in the folder; empty when there is none."""
        box = cls(folder)
        if (folder / "delivered.json").exists():
            state = read_json(folder / "delivered.json")
            box.run_id = state["run_id"]
            for message, given in state["delivered"].items():  # older code's metrics gave their number
                box.delivered[message] = RegisteredVersion(**given) if isinstance(given, dict) else None
        if (folder / "pending.json").exists():
            box.pending = [_message(value) for value in read_json(folder / "pending.json")]
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
            if message.once:
                delivered = message.id in self.delivered and not message.again
                if delivered or any(owed.id == message.id for owed in self.pending):
                    continue
            else:
                self.pending = [owed for owed in self.pending if owed.id != message.id]
            self.pending.append(message)
        if self.pending != before:
            self._write_pending()

    def settle(self, settled: Sequence[tuple[Message, RegisteredVersion | None]]) -> None:
        """Messages were delivered, and what each gave; a newer one that has come in place of one is still owed."""
        if not settled:
            return
        done = {(message.id, message.at) for message, _ in settled}
        self.pending = [owed for owed in self.pending if (owed.id, owed.at) not in done]
        self.delivered |= {message.id: result for message, result in settled if message.once}
        self._write_delivered()
        self._write_pending()

    def belong_to(self, run_id: str) -> None:
        """Start over when MLflow has another run now (the old one was deleted, or it is another store)."""
        if self.run_id != run_id:
            self.run_id, self.delivered = run_id, {}
            self._write_delivered()

    def _write_delivered(self) -> None:
        delivered = {message: asdict(given) if given else None for message, given in self.delivered.items()}
        write_json(self.folder / "delivered.json", {"run_id": self.run_id, "delivered": delivered})

    def _write_pending(self) -> None:
        pending = [{"kind": message.kind, **asdict(message)} for message in self.pending]
        write_json(self.folder / "pending.json", pending)


_PARTS: dict[str, Callable[[Any], object]] = {  # fields that are objects of their own
    "request": lambda value: ModelRequest(**{**value, "record": StageRecord.from_json(value["record"])}),
    "score": lambda value: Score(**value),
    "on": lambda value: EvaluationSet(**value) if value else None,
}


def _message(value: Mapping[str, Any]) -> Message:
    """The message that an object of `pending.json` is.

    Older code wrote `id`, which is `<kind>:<key>`, in place of `key`, and `set` in place of `on`. Still older code left
    out `at`, `again`, `also` and `set`, where it had nothing to say.
    """
    told: dict[str, Any] = {"at": 0, **value}  # not the time of reading: a message read twice is the same one
    if "id" in told:
        told["key"] = told.pop("id").partition(":")[2]
    if "set" in told:
        told["on"] = told.pop("set")
    told |= {name: make(told[name]) for name, make in _PARTS.items() if name in told}
    return KINDS[told.pop("kind")](**told)
