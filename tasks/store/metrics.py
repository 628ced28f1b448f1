"""Metrics of a stage: lines of `metrics.jsonl` in its directory, with the time at which they were measured.

The time is stored so that delivering a line to MLflow twice is the same as once.
"""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

METRICS = "metrics.jsonl"
STEP = "env_steps"  # the metric that is also the step of every other: environment steps so far


@dataclass(frozen=True)
class MetricLine:
    """One point of a curve."""

    key: str
    value: float
    step: int
    timestamp_ms: int


class MetricWriter:
    """Appends points to a stage's `metrics.jsonl`."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / METRICS

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        """Append the metrics at `step` (environment steps), all with the present time."""
        now = time.time_ns() // 1_000_000
        with self.path.open("a") as file:
            for key, value in metrics.items():
                line = {"key": key, "value": float(value), "step": step, "timestamp_ms": now}
                file.write(json.dumps(line) + "\n")


def read_metrics(directory: Path) -> list[MetricLine]:
    """The stage's points in the order of writing; none when it wrote none."""
    path = directory / METRICS
    if not path.exists():
        return []
    return [MetricLine(**json.loads(line)) for line in path.read_text().splitlines()]
