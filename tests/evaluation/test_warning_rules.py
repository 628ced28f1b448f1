"""Every rule speaks when its signature is there, once, and not before (invariant 40)."""

import pytest

from gtr_core.evaluation.warning_rules import find_warnings

RISING = [(1, 0.2), (2, 0.3), (3, 0.4), (4, 0.5)]
HEALTHY = {
    "rollout/thought_distinct": [(1, 0.8), (2, 0.7), (3, 0.6), (4, 0.41)],
    "rollout/thought_tokens": [(1, 30.0), (4, 20.0)],
    "rollout/valid_rate": [(1, 1.0), (4, 0.6)],
    "rollout/success_rate": RISING,
    "ppo/entropy": [(1, 1.0), (4, 0.2)],
    "ppo/ratio_max": [(1, 1.5), (4, 9.0)],
    "agent/success_rate": RISING,
    "teacher/success_rate": RISING,
}


def test_a_run_that_does_well_raises_nothing() -> None:
    assert find_warnings(HEALTHY, 100) == []
    assert find_warnings({}, 100) == []


@pytest.mark.parametrize(
    ("metric", "series", "rule", "iteration"),
    [
        ("rollout/thought_distinct", [(1, 0.8), (2, 0.5), (3, 0.39), (4, 0.1)], "thought_collapse", 3),
        ("rollout/thought_tokens", [(1, 30.0), (2, 14.0)], "thought_collapse", 2),
        ("ppo/entropy", [(1, 1.0), (2, 0.2), (3, 0.09)], "entropy_collapse", 3),
        ("rollout/valid_rate", [(1, 1.0), (2, 0.49)], "invalid_answers", 2),
        ("ppo/ratio_max", [(1, 1.2), (2, 12.0), (3, 1.0)], "large_ratio", 2),
        ("teacher/success_rate", [(1, 0.2), (2, 0.05), (3, 0.1), (4, 0.1)], "teacher_worse", 3),
    ],
)
def test_a_signature_is_raised_once_where_it_begins(
    metric: str, series: list[tuple[int, float]], rule: str, iteration: int
) -> None:
    found = find_warnings(HEALTHY | {metric: series}, 100)
    assert [(t.rule, t.iteration) for t in found if t.rule == rule] == [(rule, iteration)]
    assert f"at iteration {iteration}" in str(next(t for t in found if t.rule == rule))


def test_one_weak_evaluation_of_the_teacher_is_chance_and_two_are_not() -> None:
    """By two standard errors of 100 episodes, which at .1 and .3 are .108."""
    agent = [(1, 0.3), (2, 0.3), (3, 0.3)]
    once = {"agent/success_rate": agent, "teacher/success_rate": [(1, 0.3), (2, 0.1), (3, 0.25)]}
    twice = {"agent/success_rate": agent, "teacher/success_rate": [(1, 0.3), (2, 0.1), (3, 0.1)]}
    assert find_warnings(once, 100) == []
    assert [t.rule for t in find_warnings(twice, 100)] == ["teacher_worse"]
    assert find_warnings(twice, 10) == [], "ten episodes cannot tell .1 from .3"


def test_a_teacher_overfits_when_validation_falls_and_training_rises() -> None:
    history = {"teacher/success_rate": [(1, 0.3), (2, 0.5), (3, 0.3)], "rollout/success_rate": RISING}
    assert [t.rule for t in find_warnings(history, 100)] == ["teacher_overfits"]
    falling = [(1, 0.5), (2, 0.4), (3, 0.3)]
    assert find_warnings(history | {"rollout/success_rate": falling}, 100) == [], (
        "everything fell: that is no overfitting"
    )
