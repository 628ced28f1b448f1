"""How checkpoints become a teacher."""

from dataclasses import dataclass, field

from gtr_core.config.choices import MERGE_METHODS, MergeMethod
from gtr_core.config.limits import choice, within
from gtr_core.util.errors import ConfigError


@dataclass(frozen=True)
class MergeConfig:
    """The teacher: a merge of the agent's checkpoints (PAPER.md 1.4).

    `mode=incremental` merges the last teacher with the newest checkpoint alone. It needs no buffer of checkpoints, and
    its teacher is another one than the paper's (invariant 12), except for `linear` at lam 1.
    """

    method: str = "ties"
    density: float = 0.8  # share of entries kept: ties, breadcrumbs by size; dare_*, della at random
    gamma: float = 0.01  # breadcrumbs: share of the largest entries dropped
    epsilon: float = 0.15  # della: smallest entries are kept with chance density - epsilon, largest + epsilon
    weights: str = "sma"  # sma | ema | explicit
    ema_alpha: float = 0.5
    explicit: list[float] = field(default_factory=list)  # weights=explicit: of the window's checkpoints, oldest first
    window: int = 0  # the newest so many checkpoints are merged; 0 = all
    mode: str = "full_buffer"  # full_buffer (the paper: all checkpoints, anew each time) | incremental
    lam: float = 1.0  # teacher = start + lam * merged task vector
    normalize: bool = True  # divide by the weights; classic task arithmetic, a plain sum, sets it false
    interval: int = 1  # iterations between merges
    form: str = "weights"  # on disk: weights, exact | delta, from the start, in bf16 | adapter, LoRA of rank `rank`
    rank: int = 0  # form=adapter

    def __post_init__(self) -> None:
        choice("merge.method", self.method, tuple(MERGE_METHODS))
        choice("merge.weights", self.weights, ("sma", "ema", "explicit"))
        choice("merge.mode", self.mode, ("full_buffer", "incremental"))
        within("merge.density", self.density, 0, 1, open_low=True)
        within("merge.gamma", self.gamma, 0, 1)
        within("merge.ema_alpha", self.ema_alpha, 0, 1, open_low=True)
        within("merge.lam", self.lam, 0, open_low=True)
        within("merge.window", self.window, 0)
        within("merge.interval", self.interval, 1)
        room = min(self.density, 1 - self.density)
        if self.method == "della" and self.density < 1 and not 0 <= self.epsilon < room:
            raise ConfigError(
                f"merge.epsilon={self.epsilon} does not fit merge.density={self.density}: "
                f"it must be at least 0 and below {room:g}."
            )
        choice("merge.form", self.form, ("weights", "delta", "adapter"))
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
        given = list(self.explicit)
        if (self.weights == "explicit") != bool(given):
            raise ConfigError("merge.explicit=[...] and merge.weights=explicit go together: set both or neither.")
        if not given:
            return
        for weight in given:
            within("merge.explicit", weight, 0)
        within("merge.explicit, its last weight (the newest checkpoint's),", given[-1], 0, open_low=True)
        if self.window != len(given):
            raise ConfigError(
                f"merge.explicit has a weight for each of {len(given)} checkpoints: set merge.window={len(given)}."
            )
