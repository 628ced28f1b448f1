"""One field picks the method, and what a guidance cannot be is refused in one sentence."""

from types import NoneType

import pytest

from gtr_core.config import METHODS, ConfigError, Experiment
from gtr_core.config.loading import load_experiment
from gtr_core.guidance.base import Guidance, guidance_of
from gtr_core.guidance.corrected import CorrectedGuidance
from gtr_core.guidance.kl import KLGuidance
from gtr_core.guidance.sft import SFTGuidance
from tests.config.made import KL


def experiment(*overrides: str) -> Experiment:
    return load_experiment(KL, overrides)


def test_each_method_has_its_guidance() -> None:
    found = {method: type(guidance_of(experiment(f"method={method}"))) for method in METHODS}
    assert found == {
        "ppo": NoneType,
        "gtr": CorrectedGuidance,
        "turbo_sft": SFTGuidance,
        "turbo_kl": KLGuidance,
        "distill": CorrectedGuidance,
    }


@pytest.mark.parametrize(
    ("by", "guidance"), [("turbo_kl", KLGuidance), ("turbo_sft", SFTGuidance), ("gtr", CorrectedGuidance)]
)
def test_distill_has_the_guidance_of_the_method_it_names(by: str, guidance: type[Guidance]) -> None:
    assert type(guidance_of(experiment("method=distill", f"distill.by={by}"))) is guidance
    assert guidance_of(experiment("method=ppo", f"distill.by={by}")) is None


def test_the_papers_corrector() -> None:
    """PAPER.md 4: GPT-4o, T = 0.4, at most 400 tokens; without a network unless it is asked for."""
    c = experiment().corrector
    assert (c.kind, c.model, c.temperature, c.reply_tokens, c.tool) == ("oracle", "gpt-4o", 0.4, 400, True)


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("distill.by=turbo_lk", "did you mean 'turbo_kl'?"),
        ("distill.by=ppo", "choose one of gtr, turbo_sft, turbo_kl"),
        ("corrector.kind=orakel", "did you mean 'oracle'?"),
        ("corrector.endpoint.url=api.openai.com", "must begin with http"),
        ("corrector.endpoint.budget_usd=5", "needs the prices"),
        ("corrector.endpoint.budget_request=5", "did you mean 'corrector.endpoint.budget_requests'?"),
        ("kl.estimator=forwards", "did you mean 'forward'?"),
        ("kl.invalid=-1", "kl.invalid=-1"),
        ("sft.capacity=-1", "sft.capacity=-1"),
        ("sft.window=-1", "sft.window=-1"),
        ("sft.heat=0.5", "sft.heat=0.5"),
        *(
            (f"corrector.{name}={value}", f"corrector.{name}={value}")
            for name, value in (
                ("temperature", -1.0),
                ("reply_tokens", 0),
                ("tool_rounds", 0),
                ("endpoint.concurrency", 0),
                ("endpoint.tries", 0),
                ("endpoint.timeout", 0.0),
                ("endpoint.backoff", -1.0),
                ("endpoint.longest_wait", 0.0),
                ("endpoint.give_up", 0),
                ("endpoint.budget_tokens", -1),
            )
        ),
    ],
)
def test_a_mistake_names_its_field_and_the_nearest_way_out(override: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        experiment(override)
    assert words in str(caught.value) and "\n" not in str(caught.value)


def test_a_budget_of_money_with_prices_is_taken() -> None:
    endpoint = experiment(
        "corrector.endpoint.budget_usd=5", "corrector.endpoint.usd_prompt=2.5", "corrector.endpoint.usd_completion=10"
    ).corrector.endpoint
    assert endpoint.budget_usd == 5.0 and endpoint.usd_prompt == 2.5
