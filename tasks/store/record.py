"""The small JSON record of one stage: what crosses a Prefect border and what a run is made of."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, Self, TypedDict

ModelKind = Literal["start", "agent", "teacher"]


class Output(TypedDict):
    """One file of a stage's directory."""

    sha256: str
    size: int


@dataclass(frozen=True)
class StageRecord:
    """A stage: `done` by this process, `reused` from the store, or `planned`: not there yet.

    Each kind of stage has a class of its own (`tasks.store.results`), which says once what the kind is. A record that
    is read from JSON is of the class that its kind has; of an unknown kind it is a plain StageRecord.
    """

    kind: ClassVar[str] = ""  # the folder in the store, the prefix of the name
    model: ClassVar[ModelKind | None] = None  # what the stage makes, in a folder of that name: a model, or none
    training: ClassVar[bool] = False  # part of what training costs; evaluations and the start are not
    freeable: ClassVar[bool] = True  # `gtr gc` may remove its tensors when nothing needs them
    is_part: ClassVar[bool] = False  # of one stage, which joins its parts and then stands alone

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

    @property
    def model_directory(self) -> Path:
        """Where the model lies that the stage made; raises ValueError for a stage that makes none."""
        if self.model is None:
            raise ValueError(f"a stage {self.stage} makes no model")
        return self.directory / self.model

    @property
    def workspace(self) -> Path:
        """The folder that the store lies in."""
        return self.directory.parents[2]

    def to_json(self) -> dict[str, Any]:
        """A plain JSON object."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """The record that `to_json` wrote; raises TypeError when a field is missing or unknown."""
        found: Any = result_class(str(value["stage"])) if cls is StageRecord else cls
        return found(**value)  # type: ignore[no-any-return]


def result_class(kind: str) -> type[StageRecord]:
    """The class of a kind's records; the plain one for a kind that this process does not know."""
    waiting = [StageRecord]
    while waiting:
        found = waiting.pop()
        if found.kind == kind:
            return found
        waiting += found.__subclasses__()
    return StageRecord
