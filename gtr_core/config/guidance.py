"""What a teacher says and how it counts: KL, imitation, guidance without RL."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass

from gtr_core.config.section import Section
from gtr_core.util.errors import ConfigError


@dataclass(frozen=True)
class KLConfig(Section):
    """KL between agent and teacher at the tokens that the agent sampled (PAPER.md 1.6, figure 9 in 5.5)."""

    PLACE: ClassVar[str] = "kl."

    beta: NonNegativeFloat = 1.0
    # clip, k1, abs, k3: from the sampled tokens; reverse, forward: over the vocabulary.
    estimator: Literal["clip", "k1", "abs", "k3", "reverse", "forward"] = "clip"
    cap: PositiveFloat = 10.0  # most a token counts, nats
    scope: Literal["thought", "action", "all"] = "thought"
    site: Literal["advantage", "reward", "returns_after_gae"] = "advantage"
    # turn: mean over the span (PAPER.md eq. 6); token: each token carries its own (needs ppo.ratio=token).
    per: Literal["turn", "token"] = "turn"
    # Penalty of an invalid answer: a constant (the released code's is 100, PAPER.md 6.1.8); null: its own KL.
    invalid: NonNegativeFloat | None = 0.0

    def __post_init__(self) -> None:
        if self.per == "token" and self.site != "advantage":
            raise ConfigError(f"kl.per=token works at kl.site=advantage only, not at '{self.site}'.")


@dataclass(frozen=True)
class SFTConfig(Section):
    """Imitation of thoughts with a DAgger buffer, the teacher's or a corrector's (PAPER.md 1.3 and 1.5)."""

    PLACE: ClassVar[str] = "sft."

    weight: NonNegativeFloat = 1.0
    window: NonNegativeInt = 0  # iterations the buffer spans; 0 = all
    capacity: NonNegativeInt = 0  # examples the buffer keeps, each of the window as likely as another; 0 = all
    temperature: PositiveFloat = 0.2  # the teacher's first try
    heat: Annotated[float, Field(ge=1)] = 1.1  # factor a retry
    max_temperature: float = 0.9
    tries: PositiveInt = 4  # then the turn is skipped and counted


@dataclass(frozen=True)
class DistillConfig(Section):
    """Guidance without RL: the guidance of another method is all that the update follows, no reward plays a part.

    `gtr`, `turbo_sft`: the SFT loss alone. `turbo_kl`: A = -beta * KL, the policy gradient that lowers the agent's
    KL from its teacher; with `kl.estimator=k1`, `kl.per=token` and `kl.invalid=null` its expectation is the gradient of
    each token's reverse KL. A teacher merged from checkpoints knows no more than they do, and before the first change
    it is the agent: `turbo_kl` then has nothing to follow, and serves runs forked from ones that learned otherwise.
    """

    PLACE: ClassVar[str] = "distill."

    by: Literal["gtr", "turbo_sft", "turbo_kl"] = "gtr"
