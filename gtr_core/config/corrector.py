"""Settings of the corrector: who it is, what it is asked, and what may be spent on it."""

from dataclasses import field
from typing import Annotated, ClassVar, Literal

from pydantic import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass

from gtr_core.config.marks import DecidesNothing
from gtr_core.config.section import Section
from gtr_core.util.errors import ConfigError


@dataclass(frozen=True)
class EndpointConfig(Section):
    """An OpenAI-compatible chat endpoint: where it is, how patiently it is asked, and what may be spent on it.

    Nothing here says what is asked, so none of it enters a stage's key. Budgets are of a run, kept over its resumes;
    0 = no limit.
    """

    PLACE: ClassVar[str] = "corrector.endpoint."

    url: str = "https://api.openai.com/v1"  # `/chat/completions` is appended
    key_env: str | None = "OPENAI_API_KEY"  # the environment variable that holds the key; null = none is wanted
    cache: str | None = None  # folder of the replies; null = `corrector` beside the stage store
    concurrency: PositiveInt = 8  # requests at once
    timeout: PositiveFloat = 60.0  # seconds without a byte
    tries: PositiveInt = 5  # of one question; then its turn is skipped and counted
    # Seconds before the second try, doubled for each one after it, half of it at random.
    backoff: NonNegativeFloat = 1.0
    longest_wait: PositiveFloat = 120.0  # seconds between tries at most; an endpoint that asks for more ends the run
    give_up: PositiveInt = 20  # questions that fail in a row before the run ends: the endpoint is away
    budget_requests: NonNegativeInt = 0
    budget_tokens: NonNegativeInt = 0  # prompt and completion
    budget_usd: NonNegativeFloat = 0.0
    usd_prompt: NonNegativeFloat = 0.0  # price of a million prompt tokens
    usd_completion: NonNegativeFloat = 0.0  # price of a million completion tokens

    def __post_init__(self) -> None:
        if not self.url.startswith(("http://", "https://")):
            raise ConfigError(f"corrector.endpoint.url='{self.url}' must begin with http:// or https://.")
        if self.budget_usd and not (self.usd_prompt or self.usd_completion):
            raise ConfigError(
                "corrector.endpoint.budget_usd needs the prices usd_prompt and usd_completion of a million tokens."
            )


@dataclass(frozen=True)
class CorrectorConfig(Section):
    """Who corrects the agent's thoughts in `gtr` (PAPER.md 1.3 and 4: GPT-4o, T=0.4, at most 400 tokens)."""

    PLACE: ClassVar[str] = "corrector."

    # oracle: solver or expert, no network; endpoint: a vision-language model behind an API.
    kind: Literal["oracle", "endpoint"] = "oracle"
    model: str = "gpt-4o"
    temperature: NonNegativeFloat = 0.4
    reply_tokens: PositiveInt = 400  # of a reply; ALFWorld: 600
    tool: bool = True  # let the model call the solver where the game has one; without it GTR gains little
    tool_rounds: PositiveInt = 3  # replies in one question that may call it
    endpoint: Annotated[EndpointConfig, DecidesNothing] = field(default_factory=EndpointConfig)
