"""What computing and asking cost: the only money in the configuration that decides no result."""

from typing import ClassVar

from pydantic import NonNegativeFloat
from pydantic.dataclasses import dataclass

from gtr_core.config.section import Section


@dataclass(frozen=True)
class PricesConfig(Section):
    """US dollars, by default those of the paper's cost table (PAPER.md 5.3). None of it enters a stage's key."""

    PLACE: ClassVar[str] = "prices."

    usd_per_gpu_hour: NonNegativeFloat = 1.29  # $114.81 for 89 h, $216.72 for 168 h, $100.62 for 78 h of one GPU
    usd_per_cpu_hour: NonNegativeFloat = 0.05  # a rented core; the paper has no such machine
    usd_per_million_tokens: NonNegativeFloat = 4.375  # GPT-4o, asked and answered together: $307.78 for 70.35 M
    # What a merged teacher occupies beside the agent in the paper, for the whole run.
    teacher_gpus: NonNegativeFloat = 1.0
