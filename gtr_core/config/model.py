"""What the agent is: the model, how its answers are drawn, and its supervised start."""

from dataclasses import field
from typing import Annotated, ClassVar, Literal

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass

from gtr_core.config.section import Section
from gtr_core.util.errors import ConfigError

DEVICE = r"^(auto|cpu|cuda(:\d+)?)$"


@dataclass(frozen=True)
class TinyConfig(Section):
    """The shape of the embedded Qwen2.5-VL (0.93 M parameters)."""

    PLACE: ClassVar[str] = "model.tiny."

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
class LoraSettings(Section):
    """LoRA adapters on every linear layer of the language model's attention and MLP blocks; with `vision` on those of
    the picture tower and its projection too. The paper adapts both, and leaves out embeddings and output head.

    There is no dropout on purpose: log-probs are evaluated again on answers sampled before, and with dropout the ratio
    of a policy to itself is not 1 (PAPER.md 6.1.9).
    """

    PLACE: ClassVar[str] = "model.lora."

    rank: PositiveInt = 128
    alpha: PositiveFloat = 256.0
    rslora: bool = False  # scale by alpha / sqrt(rank) instead of alpha / rank
    vision: bool = False


@dataclass(frozen=True)
class ModelConfig(Section):
    """The vision-language model: `source` is `tiny`, a directory or a hub id; `train` is what RL updates."""

    PLACE: ClassVar[str] = "model."

    source: str = "tiny"
    # language: all linear weights of the language model; embeddings and norms stay.
    train: Literal["lora", "language"] = "lora"
    # float16 is to play with: it trains without scaled losses.
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    device: Annotated[str, Field(pattern=DEVICE, examples=["auto", "cpu", "cuda", "cuda:0"])] = "auto"
    attention: Literal["sdpa", "eager", "flash_attention_2"] = "sdpa"
    gradient_checkpointing: bool = False  # keep no activations of layers: less memory, one more forward pass an update
    tiny: TinyConfig = field(default_factory=TinyConfig)
    lora: LoraSettings = field(default_factory=LoraSettings)

    def __post_init__(self) -> None:
        if self.train == "language" and self.dtype != "float32":
            raise ConfigError(
                f"model.train=language does not work with model.dtype={self.dtype}: 16-bit weights round small steps "
                "away; use model.train=lora, whose adapters are fp32, or model.dtype=float32."
            )


@dataclass(frozen=True)
class SamplingConfig(Section):
    """How the agent's answers are drawn (PAPER.md section 2: T=0.2, top-k 5, repetition penalty 1.2)."""

    PLACE: ClassVar[str] = "sampling."

    temperature: PositiveFloat = 0.2
    # 0 = all; a sampler's filter only, log-probs are those of the unfiltered distribution at temperature.
    top_k: NonNegativeInt = 0
    repetition_penalty: Annotated[float, Field(ge=1)] = 1.0  # 1 = none; a sampler's filter only
    max_new_tokens: PositiveInt = 256


@dataclass(frozen=True)
class WarmStartConfig(Section):
    """Supervised start on demonstrations of the solver; `stop_at` of a `steps`-long schedule sets its strength."""

    PLACE: ClassVar[str] = "warm_start."

    steps: NonNegativeInt = 0  # length of the learning-rate schedule; 0 = the given model is the start
    stop_at: NonNegativeInt = 0  # optimiser steps taken
    batch_size: PositiveInt = 32
    lr: PositiveFloat = 2e-3
    turns: int = 4096  # demonstrated turns
    critic_turns: int = 0  # turns played by the start to fit the critic before any RL

    def __post_init__(self) -> None:
        if self.stop_at > self.steps:
            raise ConfigError(
                f"warm_start.stop_at={self.stop_at} is out of range: it must be at most warm_start.steps={self.steps}."
            )
