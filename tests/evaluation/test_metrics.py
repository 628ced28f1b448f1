"""From episodes to figures: won and positive return told apart, thoughts judged (PAPER.md, invariants 38, 40)."""

import pytest

from gtr_core.evaluation.diversity import distinct, self_bleu
from gtr_core.evaluation.intervals import normal, wilson
from gtr_core.evaluation.metrics import summarise
from gtr_core.evaluation.play import Episode


def episode(won: bool, total: float, *thoughts: str, ended: str = "terminated", **changes: object) -> Episode:
    n = len(thoughts)
    facts: dict[str, object] = {
        "valid": (True,) * n,
        "legal": (True,) * n,
        "thoughts": ({},) * n,
        "tokens": (4,) * n,
        **changes,
    }
    texts = tuple(t + '"action": "+"}' for t in thoughts)
    return Episode(won, total, texts, tuple(thoughts), ended=ended, **facts)  # type: ignore[arg-type]


EPISODES = [
    episode(True, 10.0, "a b c", "a b d", valid=(True, False), tokens=(5, 7)),
    episode(True, -1.0, "a b c", "x y z", legal=(True, False)),
    episode(False, -1.0, "p q r", ended="truncated"),
    episode(False, 0.0, "p q r"),
]


def test_success_is_winning_and_a_positive_return_is_told_apart() -> None:
    """A win after many illegal picks has no positive return: the released code calls that a failure."""
    f = summarise(EPISODES)
    assert (f["episodes"], f["success_rate"], f["positive_return_rate"]) == (4, 0.5, 0.25)
    assert (f["success_low"], f["success_high"]) == wilson(2, 4)


def test_returns_and_ends() -> None:
    f = summarise(EPISODES)
    assert f["return_mean"] == 2.0 and (f["return_low"], f["return_high"]) == normal([10.0, -1.0, -1.0, 0.0])
    assert (f["turns_mean"], f["truncated_rate"]) == (1.5, 0.25)


def test_rates_are_a_turn_not_an_episode() -> None:
    f = summarise(EPISODES)
    assert f["valid_rate"] == pytest.approx(5 / 6) and f["legal_rate"] == pytest.approx(5 / 6)
    assert f["answer_tokens"] == pytest.approx((5 + 7 + 4 * 4) / 6)


def test_diversity_is_of_the_thoughts_alone_over_all_and_by_episode() -> None:
    f = summarise(EPISODES)
    written = ["a b c", "a b d", "a b c", "x y z", "p q r", "p q r"]
    assert f["thought_distinct"] == 4 / 6
    assert f["distinct_2"] == distinct(written) and f["self_bleu_2"] == self_bleu(written)
    assert f["self_bleu_2_episode"] == pytest.approx(self_bleu(written[:2]) / 4)


def test_collapsed_thoughts_show_in_every_monitor() -> None:
    varied = [episode(True, 1.0, f"{i} is less than {i + 1}") for i in range(8)]
    collapsed = [episode(True, 1.0, "the same thought") for _ in range(8)]
    v, c = summarise(varied), summarise(collapsed)
    assert c["self_bleu_2"] > v["self_bleu_2"] and c["self_bleu_2"] == pytest.approx(1.0)
    assert c["distinct_2"] < v["distinct_2"] and c["thought_distinct"] == 1 / 8 < v["thought_distinct"] == 1.0


def test_a_thought_is_right_when_all_its_judged_fields_are() -> None:
    """A field that could not be judged is left out of its own rate and of the whole."""
    verdicts = ({"cards": True, "plan": True}, {"cards": True, "plan": False}, {"cards": True}, {})
    f = summarise([episode(True, 1.0, "a", "b", "c", "d", thoughts=verdicts)])
    assert f["thought_accuracy"] == pytest.approx(2 / 3)
    assert (f["thought_cards"], f["thought_plan"]) == (1.0, 0.5)
    assert "thought_accuracy" not in summarise([episode(True, 1.0, "a")])


def test_one_episode_has_figures_and_none_has_none() -> None:
    f = summarise(EPISODES[:1])
    assert f["success_rate"] == 1.0 and f["return_low"] == f["return_high"] == 10.0
    with pytest.raises(ValueError, match="at least one episode"):
        summarise([])
