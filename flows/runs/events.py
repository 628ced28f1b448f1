"""The journal of a run: one JSON line an event, so that any process can show how far it is and how long it has left."""

import json
import os
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

JOURNAL = "journal.jsonl"


class Journal:
    """Appends events to a run's journal; every line is written whole."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.path = directory / JOURNAL

    def write(self, event: str, **facts: Any) -> None:
        """Append one event: `plan`, `start`, `step`, `end`, `warning`, `failed` or `finished`."""
        line = json.dumps({"time": time.time(), "pid": os.getpid(), "event": event, **facts}) + "\n"
        with self.path.open("a") as file:
            file.write(line)

    def step(self, done: int, total: int) -> None:
        """A long stage tells how far it is, in the process that computes it."""
        if done % 10 == 0:
            self.write("step", fraction=done / total)


@dataclass
class Progress:
    """Where a run stands, as its journal tells it."""

    total: int = 0
    done: int = 0
    reused: int = 0
    current: str = ""
    fraction: float = 0.0  # of the current stage
    finished: bool = False
    failed: str = ""
    warnings: list[str] = field(default_factory=list)
    pid: int = 0
    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    waiting: list[str] = field(default_factory=list)

    def left_s(self) -> float | None:
        """Seconds left by the mean of each kind of stage so far; None before enough is known."""
        if not self.seconds or self.finished:
            return 0.0 if self.finished else None
        means = {kind: sum(v) / len(v) for kind, v in self.seconds.items()}
        if "update" not in means:
            return None
        return sum(means.get(kind_of(name), means["update"]) for name in self.waiting)

    @property
    def left(self) -> str:
        """`about 3 min left`; empty before enough is known and after the end."""
        seconds = self.left_s()
        if seconds is None or self.finished:
            return ""
        return f"about {seconds / 60:.0f} min left" if seconds >= 45 else "less than a minute left"

    def __str__(self) -> str:
        if self.finished:
            return "done"
        return f"{self.current} ({self.done}/{self.total})"


def kind_of(name: str) -> str:
    """`evaluate-final-agent` -> `evaluate-final`, `rollout-3` -> `rollout`."""
    return "evaluate-final" if name.startswith("evaluate-final") else name.partition("-")[0]


def read_events(directory: Path) -> Iterator[dict[str, Any]]:
    """The events of a journal; a line that a killed process left unfinished is passed over."""
    path = directory / JOURNAL
    if not path.exists():
        return
    for line in path.read_text().splitlines():
        try:
            event = json.loads(line)
        except json.JSONDecodeError:
            continue
        yield event


def read_progress(directory: Path) -> Progress:
    """The progress of the latest attempt that a journal tells of."""
    progress = Progress()
    for event in read_events(directory):
        match event["event"]:
            case "plan":
                known = progress.seconds
                progress = Progress(total=len(event["stages"]), waiting=list(event["stages"]), pid=event["pid"])
                progress.seconds = known
            case "start":
                progress.current, progress.fraction = event["stage"], 0.0
            case "step":
                progress.fraction = event["fraction"]
            case "end":
                progress.done += 1
                progress.fraction = 0.0
                if event["stage"] in progress.waiting:
                    progress.waiting.remove(event["stage"])
                if event["state"] == "reused":
                    progress.reused += 1
                else:
                    progress.seconds[kind_of(event["stage"])].append(event["seconds"])
            case "warning":
                progress.warnings.append(event["text"])
            case "failed":
                progress.failed = event["error"]
            case "finished":
                progress.finished, progress.current = True, ""
    return progress
