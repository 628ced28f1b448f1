"""What a run leaves behind: which checkpoints stay, and what else is told of its episodes."""

from typing import Annotated, ClassVar

from pydantic import NonNegativeInt, PositiveInt
from pydantic.dataclasses import dataclass

from gtr_core.config.marks import OneOf
from gtr_core.config.section import Section
from gtr_core.util.errors import ConfigError

KEEP = ("all", "last", "every", "best")


@dataclass(frozen=True)
class RetentionConfig(Section):
    """Whose tensors `gtr gc` leaves in the store; it runs only when it is called. None of it enters a stage's key.

    The newest checkpoint and teacher stay whatever the policy, and so does all that a registered model's alias or an
    unfinished run needs.
    """

    PLACE: ClassVar[str] = "retention."

    # last: n iterations; every: each n-th one; best: n by validation success, of each kind.
    keep: Annotated[str, OneOf(KEEP)] = "all"
    n: PositiveInt = 1  # of `last`, `every`, `best`

    def __post_init__(self) -> None:
        if self.keep == "all" and self.n != 1:
            raise ConfigError(f"retention.n={self.n} means nothing with retention.keep=all: use last, every or best.")


@dataclass(frozen=True)
class TrackingConfig(Section):
    """What MLflow gets of the episodes of every evaluation. None of it enters a stage's key."""

    PLACE: ClassVar[str] = "tracking."

    episodes: NonNegativeInt = 4  # of each policy, on an HTML page and in a table; 0 for none
    traces: bool = False  # the same episodes as MLflow traces, a span a turn
