"""The experiment's configuration: typed, frozen, every field with its unit, its default and its source.

YAML files are data; `gtr_core.compose` reads them into this schema and refuses what it does not know. Defaults are the
paper's (PAPER.md section 2) unless a field says otherwise; the embedded model's file says which it changes and why.
"""

import difflib
import math
import re
from dataclasses import dataclass, field
from typing import Any

from gtr_core.errors import UserError

METHODS = ("ppo", "turbo_sft", "turbo_kl")
MERGE_METHODS = ("ties", "linear")


class ConfigError(UserError):
    """A value that the configuration cannot take; the message names the field and the nearest valid choice."""


def _choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        near = difflib.get_close_matches(str(value), choices, n=1)
        hint = f"did you mean '{near[0]}'?" if near else f"choose one of {', '.join(choices)}."
        raise ConfigError(f"{name}='{value}' is not known: {hint}")


def _within(name: str, value: float, low: float, high: float = float("inf"), *, open_low: bool = False) -> None:
    if not (low < value if open_low else low <= value) or not value <= high or not math.isfinite(value):
        edge = f"above {low:g}" if open_low else f"at least {low:g}"
        top = "" if high == float("inf") else f" and at most {high:g}"
        raise ConfigError(f"{name}={value} is out of range: it must be {edge}{top}.")


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
    """Reverse KL from agent to teacher on sampled tokens (PAPER.md 1.6)."""

    beta: float = 1.0
    estimator: str = "clip"  # clip | k1 | abs | k3
    cap: float = 10.0  # most a token counts, nats
    scope: str = "thought"  # thought | action | all
    site: str = "advantage"  # advantage | reward | returns_after_gae
    per: str = (
        "turn"  # turn: mean over the span (PAPER.md eq. 6) | token: each token carries its own (needs ppo.ratio=token)
    )
    invalid: float = 0.0  # penalty of an invalid answer; the released code's is 100 (PAPER.md 6.1.8)

    def __post_init__(self) -> None:
        _choice("kl.estimator", self.estimator, ("clip", "k1", "abs", "k3"))
        _choice("kl.scope", self.scope, ("thought", "action", "all"))
        _choice("kl.site", self.site, ("advantage", "reward", "returns_after_gae"))
        _choice("kl.per", self.per, ("turn", "token"))
        _within("kl.beta", self.beta, 0)
        _within("kl.cap", self.cap, 0, open_low=True)
        if self.per == "token" and self.site != "advantage":
            raise ConfigError(f"kl.per=token works at kl.site=advantage only, not at '{self.site}'.")


@dataclass(frozen=True)
class SFTConfig:
    """Imitation of the teacher's thoughts with a DAgger buffer (PAPER.md 1.3 and 1.5)."""

    weight: float = 1.0
    temperature: float = 0.2  # the teacher's first try
    heat: float = 1.1  # factor a retry
    max_temperature: float = 0.9
    tries: int = 4  # then the turn is skipped and counted
    window: int = 0  # iterations the buffer spans; 0 = all

    def __post_init__(self) -> None:
        _within("sft.weight", self.weight, 0)
        _within("sft.temperature", self.temperature, 0, open_low=True)
        _within("sft.tries", self.tries, 1)


@dataclass(frozen=True)
class MergeConfig:
    """The teacher: a merge of the agent's checkpoints (PAPER.md 1.4)."""

    method: str = "ties"
    density: float = 0.8
    weights: str = "sma"  # sma | ema
    ema_alpha: float = 0.5
    lam: float = 1.0
    normalize: bool = True
    interval: int = 1  # iterations between merges

    def __post_init__(self) -> None:
        _choice("merge.method", self.method, MERGE_METHODS)
        _choice("merge.weights", self.weights, ("sma", "ema"))
        _within("merge.density", self.density, 0, 1, open_low=True)
        _within("merge.ema_alpha", self.ema_alpha, 0, 1, open_low=True)
        _within("merge.interval", self.interval, 1)


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
