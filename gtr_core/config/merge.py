"""How checkpoints become a teacher."""

from dataclasses import field
from typing import Annotated, ClassVar, Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass

from gtr_core.config.choices import MERGE_METHODS, MergeMethod
from gtr_core.config.marks import OneOf
from gtr_core.config.section import Section
from gtr_core.util.errors import ConfigError


@dataclass(frozen=True)
class MergeConfig(Section):
    """The teacher: a merge of the agent's checkpoints (PAPER.md 1.4).

    `mode=incremental` merges the last teacher with the newest checkpoint alone. It needs no buffer of checkpoints, and
    its teacher is another one than the paper's (invariant 12), except for `linear` at lam 1.
    """

    PLACE: ClassVar[str] = "merge."

    method: Annotated[str, OneOf(MERGE_METHODS)] = "ties"
    # Share of entries kept: ties, breadcrumbs by size; dare_*, della at random.
    density: Annotated[float, Field(gt=0, le=1)] = 0.8
    gamma: Annotated[float, Field(ge=0, le=1)] = 0.01  # breadcrumbs: share of the largest entries dropped
    epsilon: float = 0.15  # della: smallest entries are kept with chance density - epsilon, largest + epsilon
    weights: Literal["sma", "ema", "explicit"] = "sma"
    ema_alpha: Annotated[float, Field(gt=0, le=1)] = 0.5
    # weights=explicit: of the window's checkpoints, oldest first.
    explicit: list[NonNegativeFloat] = field(default_factory=list)
    window: NonNegativeInt = 0  # the newest so many checkpoints are merged; 0 = all
    mode: Literal["full_buffer", "incremental"] = "full_buffer"  # full_buffer: as the paper, all anew each time
    lam: PositiveFloat = 1.0  # teacher = start + lam * merged task vector
    normalize: bool = True  # divide by the weights; classic task arithmetic, a plain sum, sets it false
    interval: PositiveInt = 1  # iterations between merges
    # On disk: weights, exact; delta, from the start, in bf16; adapter, LoRA of rank `rank`.
    form: Literal["weights", "delta", "adapter"] = "weights"
    rank: int = 0  # form=adapter

    def __post_init__(self) -> None:
        room = min(self.density, 1 - self.density)
        if self.method == "della" and self.density < 1 and not 0 <= self.epsilon < room:
            raise ConfigError(
                f"merge.epsilon={self.epsilon} does not fit merge.density={self.density}: "
                f"it must be at least 0 and below {room:g}."
            )
        if (self.form == "adapter") != (self.rank > 0):
            raise ConfigError("merge.form=adapter and merge.rank=RANK (1 or more) go together: set both or neither.")
        self._check_explicit()
        if self.mode == "incremental" and (self.window or self.weights == "explicit" or self.chosen.select):
            raise ConfigError(
                "merge.mode=incremental keeps no buffer: it takes no merge.window, no merge.weights=explicit and no "
                "method that chooses checkpoints (greedy_soup); use merge.mode=full_buffer for those."
            )

    @property
    def chosen(self) -> MergeMethod:
        """The method: where its code is."""
        return MERGE_METHODS[self.method]

    def _check_explicit(self) -> None:
        given = self.explicit
        if (self.weights == "explicit") != bool(given):
            raise ConfigError("merge.explicit=[...] and merge.weights=explicit go together: set both or neither.")
        if not given:
            return
        if given[-1] == 0:
            raise ConfigError("merge.explicit ends with 0: its last weight, the newest checkpoint's, must be above 0.")
        if self.window != len(given):
            raise ConfigError(
                f"merge.explicit has a weight for each of {len(given)} checkpoints: set merge.window={len(given)}."
            )
