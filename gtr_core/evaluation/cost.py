"""What a run has taken: seconds by stage and device, tokens, requests, and money at given prices.

    device hours  = sum over stages of seconds / 3600
    usd           = device hours x price of the device  +  external tokens x price of a token
    extra usd     = training hours x teacher GPUs x price of the device  +  external tokens x price of a token

Training is what the method itself does: rollout, guide, update, merge. The start and the evaluations are the same for
every method and are counted apart. `extra usd` is the paper's way to count (PAPER.md 5.3): what a method needs beside
the agent's own device, where a merged teacher rents one more for the whole run. Here the teacher shares the agent's
device, which `usd` counts.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from gtr_core.config.prices import PricesConfig

TRAINING = ("rollout", "guide", "update", "merge")
_REQUESTS, _EXTERNAL = "guidance/corrector_requests", "guidance/corrector_tokens"
_BOUGHT = "guidance/corrector_usd"


@dataclass(frozen=True)
class StageUse:
    """One finished stage: what it was, on which device, how long it took, and the metrics that count."""

    stage: str
    seconds: float
    device: str  # `cpu (x86_64)`, or the name of a GPU
    metrics: Mapping[str, float]


@dataclass(frozen=True)
class Cost:
    """What the stages of one run come to; a stage that runs share counts in each, for each needs it."""

    seconds: Mapping[tuple[str, str], float]  # by (stage, device)
    tokens_generated: float  # in rollouts, by teachers, in evaluations
    tokens_scored: float  # read again for their log-probs
    requests: float  # to an external corrector
    external_tokens: float  # asked and answered
    usd: float
    extra_usd: float

    @property
    def training_hours(self) -> float:
        """Device-hours of rollout, guide, update and merge."""
        return sum(s for (stage, _), s in self.seconds.items() if stage in TRAINING) / 3600

    @property
    def device_hours(self) -> float:
        """Device-hours of all stages."""
        return sum(self.seconds.values()) / 3600

    def metrics(self) -> dict[str, float]:
        """The figures by their names in a tracker."""
        return {
            "cost/training_hours": self.training_hours,
            "cost/device_hours": self.device_hours,
            "cost/tokens_generated": self.tokens_generated,
            "cost/tokens_scored": self.tokens_scored,
            "cost/requests": self.requests,
            "cost/external_tokens": self.external_tokens,
            "cost/usd": self.usd,
            "cost/extra_usd": self.extra_usd,
        }


def cost_of(stages: Iterable[StageUse], prices: PricesConfig, *, merged_teacher: bool) -> Cost:
    """The cost of a run's stages.

    Args:
        stages: every one once, in the order of the run.
        prices: what things cost; an endpoint's own prices, where its stages tell what was paid, go before them.
        merged_teacher: whether the method follows a merge of its own checkpoints.
    """
    seconds: dict[tuple[str, str], float] = defaultdict(float)
    generated = scored = requests = external = paid = device_usd = teacher_usd = 0.0
    for use in stages:
        seconds[use.stage, use.device] += use.seconds
        money = use.seconds / 3600 * hourly(use.device, prices)
        device_usd += money
        teacher_usd += money * prices.teacher_gpus * (merged_teacher and use.stage in TRAINING)
        generated += _ending(use.metrics, "/tokens_generated")
        scored += _ending(use.metrics, "/tokens_scored")
        # A corrector's stage tells what the run has spent so far, its resumes included.
        requests = max(requests, use.metrics.get(_REQUESTS, 0.0))
        external = max(external, use.metrics.get(_EXTERNAL, 0.0))
        paid = max(paid, use.metrics.get(_BOUGHT, 0.0))
    paid = paid or external * prices.usd_per_million_tokens / 1e6
    return Cost(dict(seconds), generated, scored, requests, external, device_usd + paid, teacher_usd + paid)


def hourly(device: str, prices: PricesConfig) -> float:
    """Dollars an hour of a device."""
    return prices.usd_per_cpu_hour if device.startswith("cpu") else prices.usd_per_gpu_hour


def relative(costs: Mapping[str, Sequence[float]], to: str) -> dict[str, float]:
    """Each method's mean cost over that of the method `to`; empty without it, or where it cost nothing."""
    means = {method: sum(values) / len(values) for method, values in costs.items()}
    return {method: mean / means[to] for method, mean in means.items()} if means.get(to) else {}


def _ending(metrics: Mapping[str, float], name: str) -> float:
    return sum(value for key, value in metrics.items() if key.endswith(name))
