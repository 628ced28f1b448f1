"""The RL update: PPO and its critic."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass

from gtr_core.config.section import Section
from gtr_core.util.errors import ConfigError


@dataclass(frozen=True)
class CriticConfig(Section):
    """The value function.

    `head`: MLP d->1024->512->1 on the last prompt token's hidden state, trained in the PPO loss (PAPER.md 1.2).
    `probe`: an MLP on that hidden state as the start has it, whose weights do not move; it is fitted to the start's
    play before RL and refitted each iteration on the last `window` rollouts. A head trained from scratch on one small
    rollout explains too little variance for a tiny model to learn by, and the hidden states of an agent that learns
    drift away from what older rollouts taught.
    """

    PLACE: ClassVar[str] = "critic."

    kind: Literal["head", "probe"] = "head"
    hidden: int = 256  # width of the `probe`
    lr: float = 1e-3  # of the `probe`'s refit
    epochs: int = 6
    window: PositiveInt = 6  # rollouts
    batch_size: int = 256


@dataclass(frozen=True)
class PPOConfig(Section):
    """PPO (PAPER.md 1.2 and section 2)."""

    PLACE: ClassVar[str] = "ppo."

    gamma: Annotated[float, Field(ge=0, le=1)] = 0.9
    gae_lambda: Annotated[float, Field(ge=0, le=1)] = 0.95
    clip: Annotated[float, Field(gt=0, le=1)] = 0.1
    # answer: one ratio a turn (PAPER.md 1.2); token: one ratio a token, same weights.
    ratio: Literal["answer", "token"] = "answer"
    ratio_guard: Annotated[float, Field(ge=1)] = 10.0  # a minibatch with a larger one uses the clipped surrogate alone
    thought_coef: Annotated[float, Field(ge=0, le=1)] = 0.5  # lambda of PAPER.md 1.2
    value_coef: NonNegativeFloat = 0.5
    value_clip: PositiveFloat = 0.1
    epochs: PositiveInt = 4
    minibatch: PositiveInt = 128  # turns an optimiser step
    microbatch: PositiveInt = 32  # turns a forward and backward pass
    lr: PositiveFloat = 1e-5
    lr_final: NonNegativeFloat = 1e-9
    schedule: Literal["cosine", "linear"] = "cosine"  # over all updates of the run
    # Updates in which the rate first rises: Adam's first steps, its moments still empty, are its largest.
    warmup: NonNegativeInt = 0
    adam_beta2: float = 0.999
    adam_eps: float = 1e-7
    max_grad_norm: PositiveFloat = 0.01
    advantage_clip: NonNegativeFloat = 0.0  # 0 = none; bound on normalised advantages
    reward_scale: PositiveFloat = 1.0  # multiplies rewards before GAE; returns and success are reported unscaled
    format_bonus: float = 0.0  # reward of a valid answer, outside return and success
    format_penalty: float = 0.0  # taken for an invalid one
    target_kl: NonNegativeFloat = 0.0  # 0 = none; stop the epochs when the mean KL(old, new) of an answer exceeds it

    def __post_init__(self) -> None:
        if self.lr_final > self.lr:
            raise ConfigError(f"ppo.lr_final={self.lr_final} is out of range: it must be at most ppo.lr={self.lr}.")
