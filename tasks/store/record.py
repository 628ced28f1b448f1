"""The small JSON record of one stage: what crosses a Prefect border and what a run is made of."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypedDict


class Output(TypedDict):
    """One file of a stage's directory."""

    sha256: str
    size: int


@dataclass(frozen=True)
class StageRecord:
    """A stage: `done` by this process, `reused` from the store, or `planned` by a store that computes nothing."""

    stage: str
    iteration: int | None
    key: str
    state: Literal["done", "reused", "planned"]
    path: str  # the published directory, absolute
    seconds: float  # what computing it took, whenever that was
    outputs: dict[str, Output]  # by path inside the directory
    metrics: dict[str, float]
    inputs: dict[str, str | list[str]]  # keys of the stages that it read
    created: str  # UTC, ISO 8601
    device: str
    host: str

    @property
    def name(self) -> str:
        """The readable name in logs and UIs: `rollout-3`, or `warm_start` outside of the iterations."""
        return self.stage if self.iteration is None else f"{self.stage}-{self.iteration}"

    @property
    def directory(self) -> Path:
        """The published directory."""
        return Path(self.path)

    def to_json(self) -> dict[str, Any]:
        """A plain JSON object."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "StageRecord":
        """The record that `to_json` wrote; raises TypeError when a field is missing or unknown."""
        return cls(**value)


Part = partial[StageRecord]  # a call that finds or computes a stage, in this process or in any that it is sent to
