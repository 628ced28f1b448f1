"""The experiment's configuration: typed, frozen, every field with its unit, its default and its source.

YAML files are data; `gtr_core.compose` reads them into this schema and refuses what it does not know. Defaults are the
paper's (PAPER.md section 2) unless a field says otherwise; the embedded model's file says which it changes and why.
"""

import re
from dataclasses import dataclass, field
from typing import Any

from gtr_core.errors import ConfigError as ConfigError  # noqa: PLC0414 - a part of what this module offers
from gtr_core.guidance.corrector.settings import CorrectorConfig
from gtr_core.limits import choice as _choice
from gtr_core.limits import within as _within

METHODS = ("ppo", "gtr", "turbo_sft", "turbo_kl", "distill")
GUIDES = {
    "ppo": "none",
    "gtr": "corrector",
    "turbo_sft": "sft",
    "turbo_kl": "kl",
}  # `distill` names one of these methods
MERGE_METHODS = (
    "ties",
    "linear",
    "slerp",
    "task_arithmetic",
    "dare_linear",
    "dare_ties",
    "breadcrumbs",
    "della",
    "model_stock",
    "greedy_soup",
)


@dataclass(frozen=True)
class TinyConfig:
    """The shape of the embedded Qwen2.5-VL (0.93 M parameters)."""

    hidden: int = 128
    layers: int = 3
    heads: int = 4
    kv_heads: int = 2
    intermediate: int = 256
    vision_hidden: int = 96
    vision_layers: int = 2
    vision_heads: int = 4
    patch: int = 14
    initializer_range: float = 0.06


@dataclass(frozen=True)
class LoraSettings:
    """LoRA adapters on every linear layer of the language model's attention and MLP blocks; with `vision` on those of
    the picture tower and its projection too. The paper adapts both, and leaves out embeddings and output head.

    There is no dropout on purpose: log-probs are evaluated again on answers sampled before, and with dropout the ratio
    of a policy to itself is not 1 (PAPER.md 6.1.9).
    """

    rank: int = 128
    alpha: float = 256.0
    rslora: bool = False  # scale by alpha / sqrt(rank) instead of alpha / rank
    vision: bool = False

    def __post_init__(self) -> None:
        _within("model.lora.rank", self.rank, 1)
        _within("model.lora.alpha", self.alpha, 0, open_low=True)


@dataclass(frozen=True)
class ModelConfig:
    """The vision-language model: `source` is `tiny`, a directory or a hub id; `train` is what RL updates."""

    source: str = "tiny"
    train: str = "lora"  # lora | language (all linear weights of the language model; embeddings and norms stay)
    dtype: str = "float32"  # float32 | bfloat16 | float16 (to play with: it trains without scaled losses)
    device: str = "auto"  # auto | cpu | cuda | cuda:N
    attention: str = "sdpa"  # sdpa | eager | flash_attention_2
    gradient_checkpointing: bool = False  # keep no activations of layers: less memory, one more forward pass an update
    tiny: TinyConfig = field(default_factory=TinyConfig)
    lora: LoraSettings = field(default_factory=LoraSettings)

    def __post_init__(self) -> None:
        _choice("model.train", self.train, ("lora", "language"))
        _choice("model.dtype", self.dtype, ("float32", "bfloat16", "float16"))
        _choice("model.attention", self.attention, ("sdpa", "eager", "flash_attention_2"))
        if self.train == "language" and self.dtype != "float32":
            raise ConfigError(
                f"model.train=language does not work with model.dtype={self.dtype}: 16-bit weights round small steps "
                "away; use model.train=lora, whose adapters are fp32, or model.dtype=float32."
            )
        if not re.fullmatch(r"cuda(:\d+)?", self.device):
            _choice("model.device", self.device, ("auto", "cpu", "cuda"))


@dataclass(frozen=True)
class EnvConfig:
    """A registered environment and its arguments; splits are disjoint sets of deals.

    Evaluation plays exactly `kwargs`. Training plays it with each change of `practice` in equal parts: a small model
    with few deals learns them by heart, and learns the skill from neighbouring tasks.
    """

    id: str = "gtr/Points24-v0"
    kwargs: dict[str, Any] = field(default_factory=dict)
    practice: list[dict[str, Any]] = field(default_factory=lambda: [{}])

    def __post_init__(self) -> None:
        if not self.practice:
            raise ConfigError("env.practice=[] leaves nothing to train on: [{}] is the environment itself.")

    def training(self, number: int) -> dict[str, Any]:
        """The arguments of training environment `number` = 0, 1, ...: the `train` split unless they name another."""
        return {"split": "train"} | dict(self.kwargs) | dict(self.practice[number % len(self.practice)])


@dataclass(frozen=True)
class SamplingConfig:
    """How the agent's answers are drawn (PAPER.md section 2: T=0.2, top-k 5, repetition penalty 1.2)."""

    temperature: float = 0.2
    top_k: int = (
        0  # 0 = all; a sampler's filter only, log-probs are those of the unfiltered distribution at temperature
    )
    repetition_penalty: float = 1.0  # 1 = none; a sampler's filter only
    max_new_tokens: int = 256

    def __post_init__(self) -> None:
        _within("sampling.temperature", self.temperature, 0, open_low=True)
        _within("sampling.top_k", self.top_k, 0)
        _within("sampling.repetition_penalty", self.repetition_penalty, 1)
        _within("sampling.max_new_tokens", self.max_new_tokens, 1)


@dataclass(frozen=True)
class WarmStartConfig:
    """Supervised start on demonstrations of the solver; `stop_at` of a `steps`-long schedule sets its strength."""

    steps: int = 0  # length of the learning-rate schedule; 0 = the given model is the start
    stop_at: int = 0  # optimiser steps taken
    batch_size: int = 32
    lr: float = 2e-3
    turns: int = 4096  # demonstrated turns
    critic_turns: int = 0  # turns played by the start to fit the critic before any RL

    def __post_init__(self) -> None:
        _within("warm_start.steps", self.steps, 0)
        _within("warm_start.stop_at", self.stop_at, 0, self.steps)
        _within("warm_start.batch_size", self.batch_size, 1)
        _within("warm_start.lr", self.lr, 0, open_low=True)


@dataclass(frozen=True)
class RolloutConfig:
    """`envs` environments played side by side for `turns` turns: envs x turns samples an iteration."""

    envs: int = 64
    turns: int = 16
    batch_size: int = 64  # answers generated or scored at once

    def __post_init__(self) -> None:
        for name in ("envs", "turns", "batch_size"):
            _within(f"rollout.{name}", getattr(self, name), 1)


@dataclass(frozen=True)
class CriticConfig:
    """The value function.

    `head`: MLP d->1024->512->1 on the last prompt token's hidden state, trained in the PPO loss (PAPER.md 1.2).
    `probe`: an MLP on the same hidden state that sends no gradient into it, fitted to the start's play before RL and
    refitted each iteration on the last `window` rollouts; a head trained from scratch on one small rollout explains too
    little variance for a tiny model to learn by.
    """

    kind: str = "head"
    hidden: int = 256  # width of the `probe`
    lr: float = 1e-3  # of the `probe`'s refit
    epochs: int = 6
    window: int = 6  # rollouts
    batch_size: int = 256

    def __post_init__(self) -> None:
        _choice("critic.kind", self.kind, ("head", "probe"))
        _within("critic.window", self.window, 1)


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
        _choice("ppo.ratio", self.ratio, ("answer", "token"))
        _choice("ppo.schedule", self.schedule, ("cosine", "linear"))
        _within("ppo.gamma", self.gamma, 0, 1)
        _within("ppo.gae_lambda", self.gae_lambda, 0, 1)
        _within("ppo.clip", self.clip, 0, 1, open_low=True)
        _within("ppo.thought_coef", self.thought_coef, 0, 1)
        _within("ppo.epochs", self.epochs, 1)
        _within("ppo.ratio_guard", self.ratio_guard, 1)
        _within("ppo.value_coef", self.value_coef, 0)
        _within("ppo.value_clip", self.value_clip, 0, open_low=True)
        _within("ppo.max_grad_norm", self.max_grad_norm, 0, open_low=True)
        _within("ppo.advantage_clip", self.advantage_clip, 0)
        _within("ppo.reward_scale", self.reward_scale, 0, open_low=True)
        _within("ppo.target_kl", self.target_kl, 0)
        _within("ppo.lr", self.lr, 0, open_low=True)
        _within("ppo.lr_final", self.lr_final, 0, self.lr)
        _within("ppo.warmup", self.warmup, 0)
        _within("ppo.minibatch", self.minibatch, 1)
        _within("ppo.microbatch", self.microbatch, 1)


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
        _choice("kl.estimator", self.estimator, ("clip", "k1", "abs", "k3", "reverse", "forward"))
        _choice("kl.scope", self.scope, ("thought", "action", "all"))
        _choice("kl.site", self.site, ("advantage", "reward", "returns_after_gae"))
        _choice("kl.per", self.per, ("turn", "token"))
        _within("kl.beta", self.beta, 0)
        _within("kl.cap", self.cap, 0, open_low=True)
        if self.invalid is not None:
            _within("kl.invalid", self.invalid, 0)
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
        _within("sft.weight", self.weight, 0)
        _within("sft.window", self.window, 0)
        _within("sft.capacity", self.capacity, 0)
        _within("sft.temperature", self.temperature, 0, open_low=True)
        _within("sft.heat", self.heat, 1)
        _within("sft.tries", self.tries, 1)


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
        _choice("distill.by", self.by, ("gtr", "turbo_sft", "turbo_kl"))


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

    def __post_init__(self) -> None:
        _choice("merge.method", self.method, MERGE_METHODS)
        _choice("merge.weights", self.weights, ("sma", "ema", "explicit"))
        _choice("merge.mode", self.mode, ("full_buffer", "incremental"))
        _within("merge.density", self.density, 0, 1, open_low=True)
        _within("merge.gamma", self.gamma, 0, 1)
        _within("merge.ema_alpha", self.ema_alpha, 0, 1, open_low=True)
        _within("merge.lam", self.lam, 0, open_low=True)
        _within("merge.window", self.window, 0)
        _within("merge.interval", self.interval, 1)
        room = min(self.density, 1 - self.density)
        if self.method == "della" and self.density < 1 and not 0 <= self.epsilon < room:
            raise ConfigError(
                f"merge.epsilon={self.epsilon} does not fit merge.density={self.density}: "
                f"it must be at least 0 and below {room:g}."
            )
        self._check_explicit()
        if self.mode == "incremental" and (self.window or self.weights == "explicit" or self.method == "greedy_soup"):
            raise ConfigError(
                "merge.mode=incremental keeps no buffer: it takes no merge.window, no merge.weights=explicit and no "
                "merge.method=greedy_soup; use merge.mode=full_buffer for those."
            )

    def _check_explicit(self) -> None:
        given = list(self.explicit)
        if (self.weights == "explicit") != bool(given):
            raise ConfigError("merge.explicit=[...] and merge.weights=explicit go together: set both or neither.")
        if not given:
            return
        for weight in given:
            _within("merge.explicit", weight, 0)
        _within("merge.explicit, its last weight (the newest checkpoint's),", given[-1], 0, open_low=True)
        if self.window != len(given):
            raise ConfigError(
                f"merge.explicit has a weight for each of {len(given)} checkpoints: set merge.window={len(given)}."
            )


@dataclass(frozen=True)
class EvaluationConfig:
    """Fixed episodes: `valid` for the curves and for choosing, `test` (held out by multiset) for the final table."""

    every: int = 1  # iterations between evaluations on the validation episodes
    curve_episodes: int = 100
    episodes: int = 200
    set_seed: int = 0  # which fixed list of episodes; the same for every arm and seed

    def __post_init__(self) -> None:
        _within("evaluation.every", self.every, 1)
        _within("evaluation.episodes", self.episodes, 1)
        _within("evaluation.curve_episodes", self.curve_episodes, 1)


@dataclass(frozen=True)
class ExecutionConfig:
    """How stages run on this machine; none of it enters a stage's key."""

    threads: int = 1  # torch threads a process; a tiny model is fastest with one
    game_workers: int = 0  # processes that play a rollout's games; 0 = none: slow engines gain, fast ones lose
    turn_limit_s: float = 60.0  # a game worker that takes longer for a turn is restarted

    def __post_init__(self) -> None:
        _within("execution.threads", self.threads, 1)
        _within("execution.game_workers", self.game_workers, 0)
        _within("execution.turn_limit_s", self.turn_limit_s, 0, open_low=True)


@dataclass(frozen=True)
class Experiment:
    """One run: a method on an environment with a seed."""

    name: str = "experiment"
    method: str = "turbo_kl"
    seed: int = 1
    iterations: int = 30
    env: EnvConfig = field(default_factory=EnvConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    warm_start: WarmStartConfig = field(default_factory=WarmStartConfig)
    rollout: RolloutConfig = field(default_factory=RolloutConfig)
    critic: CriticConfig = field(default_factory=CriticConfig)
    ppo: PPOConfig = field(default_factory=PPOConfig)
    kl: KLConfig = field(default_factory=KLConfig)
    sft: SFTConfig = field(default_factory=SFTConfig)
    corrector: CorrectorConfig = field(default_factory=CorrectorConfig)
    distill: DistillConfig = field(default_factory=DistillConfig)
    merge: MergeConfig = field(default_factory=MergeConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    execution: ExecutionConfig = field(default_factory=ExecutionConfig)

    def __post_init__(self) -> None:
        _choice("method", self.method, METHODS)
        _within("iterations", self.iterations, 1)
        _within("seed", self.seed, 0)
        if self.kl.per == "token" and self.ppo.ratio != "token":
            raise ConfigError("kl.per=token needs ppo.ratio=token: one ratio a turn cannot carry a penalty a token.")
        if self.critic.kind == "probe" and self.warm_start.critic_turns == 0:
            raise ConfigError("critic.kind=probe needs warm_start.critic_turns above 0: it is fitted before RL starts.")
        if self.model.source == "tiny" and self.warm_start.stop_at == 0:
            raise ConfigError("model.source=tiny needs warm_start.stop_at above 0: its weights start at random.")

    @property
    def guide(self) -> str:
        """Which guidance the method has: none | kl | sft | corrector."""
        return GUIDES[self.distill.by if self.method == "distill" else self.method]
