"""What a teacher says and how it counts: KL, imitation, guidance without RL."""

from dataclasses import dataclass

from gtr_core.config.limits import choice, within
from gtr_core.util.errors import ConfigError


@dataclass(frozen=True)
class KLConfig:
    """KL between agent and teacher at the tokens that the agent sampled (PAPER.md 1.6, figure 9 in 5.5)."""

    beta: float = 1.0
    estimator: str = "clip"  # clip | k1 | abs | k3, from the sampled tokens | reverse | forward, over the vocabulary
    cap: float = 10.0  # most a token counts, nats
    scope: str = "thought"  # thought | action | all
    site: str = "advantage"  # advantage | reward | returns_after_gae
    per: str = (
        "turn"  # turn: mean over the span (PAPER.md eq. 6) | token: each token carries its own (needs ppo.ratio=token)
    )
    invalid: float | None = (
        0.0  # penalty of an invalid answer: a constant (the released code's is 100, PAPER.md 6.1.8) | null: its own KL
    )

    def __post_init__(self) -> None:
        choice("kl.estimator", self.estimator, ("clip", "k1", "abs", "k3", "reverse", "forward"))
        choice("kl.scope", self.scope, ("thought", "action", "all"))
        choice("kl.site", self.site, ("advantage", "reward", "returns_after_gae"))
        choice("kl.per", self.per, ("turn", "token"))
        within("kl.beta", self.beta, 0)
        within("kl.cap", self.cap, 0, open_low=True)
        if self.invalid is not None:
            within("kl.invalid", self.invalid, 0)
        if self.per == "token" and self.site != "advantage":
            raise ConfigError(f"kl.per=token works at kl.site=advantage only, not at '{self.site}'.")


@dataclass(frozen=True)
class SFTConfig:
    """Imitation of thoughts with a DAgger buffer, the teacher's or a corrector's (PAPER.md 1.3 and 1.5)."""

    weight: float = 1.0
    window: int = 0  # iterations the buffer spans; 0 = all
    capacity: int = 0  # lessons the buffer keeps, each of the window as likely as another; 0 = all
    temperature: float = 0.2  # the teacher's first try
    heat: float = 1.1  # factor a retry
    max_temperature: float = 0.9
    tries: int = 4  # then the turn is skipped and counted

    def __post_init__(self) -> None:
        within("sft.weight", self.weight, 0)
        within("sft.window", self.window, 0)
        within("sft.capacity", self.capacity, 0)
        within("sft.temperature", self.temperature, 0, open_low=True)
        within("sft.heat", self.heat, 1)
        within("sft.tries", self.tries, 1)


@dataclass(frozen=True)
class DistillConfig:
    """Guidance without RL: the guidance of another method is all that the update follows, no reward plays a part.

    `gtr`, `turbo_sft`: the lessons' loss alone. `turbo_kl`: A = -beta * KL, the policy gradient that lowers the agent's
    KL from its teacher; with `kl.estimator=k1`, `kl.per=token` and `kl.invalid=null` its expectation is the gradient of
    each token's reverse KL. A teacher merged from checkpoints knows no more than they do, and before the first change
    it is the agent: `turbo_kl` then has nothing to follow, and serves runs forked from ones that learned otherwise.
    """

    by: str = "gtr"  # gtr | turbo_sft | turbo_kl

    def __post_init__(self) -> None:
        choice("distill.by", self.by, ("gtr", "turbo_sft", "turbo_kl"))
