"""The RL update: PPO and its critic."""

from dataclasses import dataclass

from gtr_core.config.limits import choice, within


@dataclass(frozen=True)
class CriticConfig:
    """The value function.

    `head`: MLP d->1024->512->1 on the last prompt token's hidden state, trained in the PPO loss (PAPER.md 1.2).
    `probe`: an MLP on that hidden state as the start has it, whose weights do not move; it is fitted to the start's
    play before RL and refitted each iteration on the last `window` rollouts. A head trained from scratch on one small
    rollout explains too little variance for a tiny model to learn by, and the hidden states of an agent that learns
    drift away from what older rollouts taught.
    """

    kind: str = "head"
    hidden: int = 256  # width of the `probe`
    lr: float = 1e-3  # of the `probe`'s refit
    epochs: int = 6
    window: int = 6  # rollouts
    batch_size: int = 256

    def __post_init__(self) -> None:
        choice("critic.kind", self.kind, ("head", "probe"))
        within("critic.window", self.window, 1)


@dataclass(frozen=True)
class PPOConfig:
    """PPO (PAPER.md 1.2 and section 2)."""

    gamma: float = 0.9
    gae_lambda: float = 0.95
    clip: float = 0.1
    ratio: str = "answer"  # answer: one ratio a turn (PAPER.md 1.2) | token: one ratio a token, same weights
    ratio_guard: float = 10.0  # a minibatch with a larger ratio uses the clipped surrogate alone
    thought_coef: float = 0.5  # lambda of PAPER.md 1.2
    value_coef: float = 0.5
    value_clip: float = 0.1
    epochs: int = 4
    minibatch: int = 128  # turns an optimiser step
    microbatch: int = 32  # turns a forward and backward pass
    lr: float = 1e-5
    lr_final: float = 1e-9
    schedule: str = "cosine"  # cosine | linear, over all updates of the run
    warmup: int = (
        0  # updates in which the rate first rises: Adam's first steps, its moments still empty, are its largest
    )
    adam_beta2: float = 0.999
    adam_eps: float = 1e-7
    max_grad_norm: float = 0.01
    advantage_clip: float = 0.0  # 0 = none; bound on normalised advantages
    reward_scale: float = 1.0  # multiplies rewards before GAE; returns and success are reported unscaled
    format_bonus: float = 0.0  # reward of a valid answer, outside return and success
    format_penalty: float = 0.0  # taken for an invalid one
    target_kl: float = 0.0  # 0 = none; stop the epochs when the mean KL(old, new) of an answer exceeds it

    def __post_init__(self) -> None:
        choice("ppo.ratio", self.ratio, ("answer", "token"))
        choice("ppo.schedule", self.schedule, ("cosine", "linear"))
        within("ppo.gamma", self.gamma, 0, 1)
        within("ppo.gae_lambda", self.gae_lambda, 0, 1)
        within("ppo.clip", self.clip, 0, 1, open_low=True)
        within("ppo.thought_coef", self.thought_coef, 0, 1)
        within("ppo.epochs", self.epochs, 1)
        within("ppo.ratio_guard", self.ratio_guard, 1)
        within("ppo.value_coef", self.value_coef, 0)
        within("ppo.value_clip", self.value_clip, 0, open_low=True)
        within("ppo.max_grad_norm", self.max_grad_norm, 0, open_low=True)
        within("ppo.advantage_clip", self.advantage_clip, 0)
        within("ppo.reward_scale", self.reward_scale, 0, open_low=True)
        within("ppo.target_kl", self.target_kl, 0)
        within("ppo.lr", self.lr, 0, open_low=True)
        within("ppo.lr_final", self.lr_final, 0, self.lr)
        within("ppo.warmup", self.warmup, 0)
        within("ppo.minibatch", self.minibatch, 1)
        within("ppo.microbatch", self.microbatch, 1)
