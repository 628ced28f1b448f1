"""The experiment's configuration: typed, frozen, every field with its unit, its default and its source.

YAML files are data; `gtr_core.config.loading` reads them into this schema and refuses what it does not know.
Defaults are the paper's (PAPER.md section 2) unless a field says otherwise; the embedded model's file says which
it changes and why.
"""

from dataclasses import field
from typing import Annotated

from pydantic import NonNegativeInt, PositiveInt
from pydantic.dataclasses import dataclass

from gtr_core.config.choices import MERGE_METHODS, METHODS
from gtr_core.config.corrector import CorrectorConfig, EndpointConfig
from gtr_core.config.guidance import DistillConfig, KLConfig, SFTConfig
from gtr_core.config.marks import DecidesNothing, OneOf, marks, walk
from gtr_core.config.merge import MergeConfig
from gtr_core.config.model import LoraSettings, ModelConfig, SamplingConfig, TinyConfig, WarmStartConfig
from gtr_core.config.prices import PricesConfig
from gtr_core.config.record import RetentionConfig, TrackingConfig
from gtr_core.config.rl import CriticConfig, PPOConfig
from gtr_core.config.section import Section
from gtr_core.config.world import EnvConfig, EvaluationConfig, ExecutionConfig, RolloutConfig, SlotsConfig
from gtr_core.util.errors import ConfigError

__all__ = [
    "MERGE_METHODS",
    "METHODS",
    "NOT_DECIDING",
    "ConfigError",
    "CorrectorConfig",
    "CriticConfig",
    "DistillConfig",
    "EndpointConfig",
    "EnvConfig",
    "EvaluationConfig",
    "ExecutionConfig",
    "Experiment",
    "KLConfig",
    "LoraSettings",
    "MergeConfig",
    "ModelConfig",
    "PPOConfig",
    "PricesConfig",
    "RetentionConfig",
    "RolloutConfig",
    "SFTConfig",
    "SamplingConfig",
    "SlotsConfig",
    "TinyConfig",
    "TrackingConfig",
    "WarmStartConfig",
]


@dataclass(frozen=True)
class Experiment(Section):
    """One run: a method on an environment with a seed."""

    name: str = "experiment"
    method: Annotated[str, OneOf(METHODS)] = "turbo_kl"
    seed: NonNegativeInt = 1
    iterations: PositiveInt = 30
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
    execution: Annotated[ExecutionConfig, DecidesNothing] = field(default_factory=ExecutionConfig)
    retention: Annotated[RetentionConfig, DecidesNothing] = field(default_factory=RetentionConfig)
    tracking: Annotated[TrackingConfig, DecidesNothing] = field(default_factory=TrackingConfig)
    prices: Annotated[PricesConfig, DecidesNothing] = field(default_factory=PricesConfig)

    def __post_init__(self) -> None:
        if self.kl.per == "token" and self.ppo.ratio != "token":
            raise ConfigError("kl.per=token needs ppo.ratio=token: one ratio a turn cannot carry a penalty a token.")
        batches = -(-self.rollout.envs // self.rollout.batch_size)
        if self.execution.shards > batches:
            raise ConfigError(
                f"execution.shards={self.execution.shards}, but a shard holds whole batches and rollout.envs="
                f"{self.rollout.envs} in batches of {self.rollout.batch_size} are {batches}: lower "
                "rollout.batch_size, or execution.shards."
            )
        if self.critic.kind == "probe" and self.warm_start.critic_turns == 0:
            raise ConfigError("critic.kind=probe needs warm_start.critic_turns above 0: it is fitted before RL starts.")
        if self.merge.form == "adapter" and self.model.train != "lora":
            raise ConfigError(
                "merge.form=adapter needs model.train=lora: where all weights are trained biases move too, and fit no "
                "adapter; use merge.form=delta."
            )
        if self.model.source == "tiny" and self.warm_start.stop_at == 0:
            raise ConfigError("model.source=tiny needs warm_start.stop_at above 0: its weights start at random.")

    @property
    def guidance(self) -> str:
        """Where the code of the method's guidance is, as `choices` names it; empty for a method without one."""
        return METHODS[self.distill.by if self.method == "distill" else self.method]


# How a run is run, not what comes of it: the dotted keys of the fields that are marked so.
NOT_DECIDING = tuple(key for key, kind in walk(Experiment) if DecidesNothing in marks(kind))
