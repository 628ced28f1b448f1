"""What a run leaves behind: which checkpoints stay, and what else is told of its episodes."""

from dataclasses import dataclass

from gtr_core.config.limits import choice, within
from gtr_core.util.errors import ConfigError

KEEP = ("all", "last", "every", "best")


@dataclass(frozen=True)
class RetentionConfig:
    """Whose tensors `gtr gc` leaves in the store; it runs only when it is called. None of it enters a stage's key.

    The newest checkpoint and teacher stay whatever the policy, and so does all that a registered model's alias or an
    unfinished run needs.
    """

    keep: str = "all"  # all | last (n iterations) | every (n-th iteration) | best (n by validation success, each kind)
    n: int = 1  # of `last`, `every`, `best`

    def __post_init__(self) -> None:
        choice("retention.keep", self.keep, KEEP)
        within("retention.n", self.n, 1)
        if self.keep == "all" and self.n != 1:
            raise ConfigError(f"retention.n={self.n} means nothing with retention.keep=all: use last, every or best.")


@dataclass(frozen=True)
class TrackingConfig:
    """What MLflow gets of the episodes of every evaluation. None of it enters a stage's key."""

    episodes: int = 4  # of each policy, on an HTML page and in a table; 0 for none
    traces: bool = False  # the same episodes as MLflow traces, a span a turn

    def __post_init__(self) -> None:
        within("tracking.episodes", self.episodes, 0)
