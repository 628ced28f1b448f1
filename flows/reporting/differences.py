"""Arm against arm on the same episodes, seed by seed."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import combinations
from typing import Any

import pandas as pd

from flows.reporting.arms import Arm
from flows.reporting.finished import MODES, WHO
from gtr_core.evaluation.paired import paired_difference
from gtr_core.util.errors import UserError

OUTCOMES = {"success": "won", "return": "return"}
TEACHER_AHEAD = "teacher - agent"  # the policy column of differences within an arm
COMPARED_ROLES = ("agent", "best", "teacher")
COLUMNS = ("a", "b", "policy", "mode", "outcome", "difference", "low", "high", "seeds", "deals", "episodes")


def differences(arms: Sequence[Arm]) -> pd.DataFrame:
    """One row a pair of arms, policy, mode and outcome (success, return): mean of a - b and its 95 % interval.

    Then the same within each arm: its teacher against its final agent. Only seeds that both have count, and only arms
    with one run a seed.

    Raises:
        UserError: the evaluations are of an older version, which did not keep the deals.
    """
    single = [arm for arm in arms if all(len(runs) == 1 for runs in arm.by_seed().values())]

    @cache
    def played(arm: int, who: str, mode: str) -> Played:
        return _played(single[arm], who, mode)

    rows: list[dict[str, Any]] = []
    for (i, a), (j, b) in combinations(enumerate(single), 2):
        for who in COMPARED_ROLES:
            for mode in MODES:
                rows += _pair(played(i, who, mode), played(j, who, mode), (a.label, b.label, WHO[who], mode))
    for i, arm in enumerate(single):
        for mode in MODES:
            names = (f"{arm.label} {WHO['teacher']}", f"{arm.label} {WHO['agent']}", TEACHER_AHEAD, mode)
            rows += _pair(played(i, "teacher", mode), played(i, "agent", mode), names)
    return pd.DataFrame(rows, columns=COLUMNS)


@dataclass(frozen=True)
class Played:
    """What became of each episode: by outcome, by seed, in the order of the set."""

    deals: Sequence[str]
    outcomes: dict[str, dict[int, list[float]]]


def _played(arm: Arm, who: str, mode: str) -> Played:
    deals: list[str] = []
    outcomes: dict[str, dict[int, list[float]]] = {outcome: {} for outcome in OUTCOMES}
    for seed, (run,) in arm.by_seed().items():
        if who not in run.finals:
            continue
        episodes = run.finals[who].episodes(mode)
        if "deal" not in episodes[0]:
            raise UserError(
                f"{run.name} was evaluated by an older version, which did not note the deal of each episode: "
                f"`{run.record['command']}` evaluates it again."
            )
        deals = [episode["deal"] for episode in episodes]
        for outcome, field in OUTCOMES.items():
            outcomes[outcome][seed] = [float(episode[field]) for episode in episodes]
    return Played(deals, outcomes)


def _pair(a: Played, b: Played, names: tuple[str, str, str, str]) -> list[dict[str, Any]]:
    rows = []
    for outcome in OUTCOMES:
        found = paired_difference(a.outcomes[outcome], b.outcomes[outcome], a.deals)
        if found is not None:
            facts = (*names, outcome, found.mean, found.low, found.high, found.seeds, found.deals, found.episodes)
            rows.append(dict(zip(COLUMNS, facts, strict=True)))
    return rows
