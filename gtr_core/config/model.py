"""What the agent is: the model, how its answers are drawn, and its supervised start."""

import re
from dataclasses import dataclass, field

from gtr_core.config.limits import choice, within
from gtr_core.util.errors import ConfigError


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
        within("model.lora.rank", self.rank, 1)
        within("model.lora.alpha", self.alpha, 0, open_low=True)


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
        choice("model.train", self.train, ("lora", "language"))
        choice("model.dtype", self.dtype, ("float32", "bfloat16", "float16"))
        choice("model.attention", self.attention, ("sdpa", "eager", "flash_attention_2"))
        if self.train == "language" and self.dtype != "float32":
            raise ConfigError(
                f"model.train=language does not work with model.dtype={self.dtype}: 16-bit weights round small steps "
                "away; use model.train=lora, whose adapters are fp32, or model.dtype=float32."
            )
        if not re.fullmatch(r"cuda(:\d+)?", self.device):
            choice("model.device", self.device, ("auto", "cpu", "cuda"))


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
        within("sampling.temperature", self.temperature, 0, open_low=True)
        within("sampling.top_k", self.top_k, 0)
        within("sampling.repetition_penalty", self.repetition_penalty, 1)
        within("sampling.max_new_tokens", self.max_new_tokens, 1)


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
        within("warm_start.steps", self.steps, 0)
        within("warm_start.stop_at", self.stop_at, 0, self.steps)
        within("warm_start.batch_size", self.batch_size, 1)
        within("warm_start.lr", self.lr, 0, open_low=True)
