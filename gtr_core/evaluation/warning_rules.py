"""Signs of trouble in a run's metrics: the failure signatures of the paper, raised by the rules below (PAPER.md 40).

Every rule looks at what has been measured up to an iteration, and speaks once, when it first holds.

thought_collapse      the share of distinct thoughts, or the length of a thought, is below half of the first rollout's
entropy_collapse      the entropy of the answers' tokens is below a tenth of the first update's
invalid_answers       less than half of a rollout's answers are valid
large_ratio           an update met a ratio above 10: its answers are no longer those that were sampled
teacher_worse         the teacher's validation success is below the agent's by two standard errors, twice in a row
teacher_overfits      the teacher's validation success is two standard errors below its best, while the agent's success
                      in training is above what it was then
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import sqrt

Series = Sequence[tuple[int, float]]  # (iteration, value), oldest first
History = Mapping[str, Series]  # by the metric's name

HALF, TENTH, LARGE_RATIO, STANDARD_ERRORS = 0.5, 0.1, 10.0, 2.0


@dataclass(frozen=True)
class RunWarning:
    """A rule that holds, since which iteration, and the figures that say so."""

    rule: str
    iteration: int
    sentence: str

    def __str__(self) -> str:
        return f"{self.rule.replace('_', ' ')} at iteration {self.iteration}: {self.sentence}"


def find_warnings(history: History, validation_episodes: int) -> list[RunWarning]:
    """What is wrong with a run, in the order of the rules.

    Args:
        history: its metrics, as stages report them.
        validation_episodes: behind each point of `agent/success_rate` and `teacher/success_rate`.
    """
    found: list[RunWarning] = []
    for rule, check in _RULES.items():
        first = next(iter(check(history, validation_episodes)), None)
        if first is not None:
            found.append(RunWarning(rule, *first))
    return found


Found = list[tuple[int, str]]  # (iteration, sentence)


def _collapse(history: History, n: int) -> Found:
    found = _fallen(history, "rollout/thought_distinct", HALF, "distinct thoughts a turn")
    return sorted(found + _fallen(history, "rollout/thought_tokens", HALF, "tokens a thought"))


def _entropy(history: History, n: int) -> Found:
    return _fallen(history, "ppo/entropy", TENTH, "nats a token")


def _fallen(history: History, metric: str, share: float, unit: str) -> Found:
    series = history.get(metric, ())
    if not series:
        return []
    first = series[0][1]
    return [
        (k, f"{value:.3g} {unit}, {first:.3g} at the start of the run") for k, value in series if value < share * first
    ]


def _invalid(history: History, n: int) -> Found:
    return [(k, f"{v:.1%} of the answers are valid") for k, v in history.get("rollout/valid_rate", ()) if v < HALF]


def _ratio(history: History, n: int) -> Found:
    return [(k, f"a ratio of {v:.3g} in the update") for k, v in history.get("ppo/ratio_max", ()) if v > LARGE_RATIO]


def _worse(history: History, n: int) -> Found:
    agents = dict(history.get("agent/success_rate", ()))
    both = [(k, t, agents[k]) for k, t in history.get("teacher/success_rate", ()) if k in agents]
    below = [agent - teacher > STANDARD_ERRORS * _error(teacher, agent, n) for _, teacher, agent in both]
    return [
        (k, f"its validation success is {teacher:.3f}, the agent's {agent:.3f}, and it was below before")
        for i, (k, teacher, agent) in enumerate(both)
        if i and below[i] and below[i - 1]
    ]


def _overfits(history: History, n: int) -> Found:
    training = dict(history.get("rollout/success_rate", ()))
    found: Found = []
    best: tuple[int, float] | None = None
    for k, value in history.get("teacher/success_rate", ()):
        if best is None or value >= best[1]:
            best = (k, value)
        elif (
            best[1] - value > STANDARD_ERRORS * _error(best[1], value, n)
            and k in training
            and training[k] > training.get(best[0], 1.0)
        ):
            sentence = f"its validation success fell from {best[1]:.3f} (iteration {best[0]}) to {value:.3f}"
            found.append((k, f"{sentence}, while success in training rose to {training[k]:.3f}"))
    return found


def _error(p: float, q: float, n: int) -> float:
    """The standard error of the difference of two rates of `n` episodes each."""
    return sqrt((p * (1 - p) + q * (1 - q)) / n)


_RULES: Mapping[str, Callable[[History, int], Found]] = {
    "thought_collapse": _collapse,
    "entropy_collapse": _entropy,
    "invalid_answers": _invalid,
    "large_ratio": _ratio,
    "teacher_worse": _worse,
    "teacher_overfits": _overfits,
}
