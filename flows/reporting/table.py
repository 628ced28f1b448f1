"""The comparison: one row an arm, policy and mode, with mean, deviation and 95 % interval over seeds."""

import difflib
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from flows.reporting.arms import Arm
from flows.reporting.costs import cost_table
from flows.reporting.finished import MODES, WHO, Final
from gtr_core.evaluation.intervals import student, wilson
from gtr_core.util.errors import UserError

METRICS = (
    "success_rate",
    "return_mean",
    "valid_rate",
    "thought_distinct",
    "thought_accuracy",
)
COSTS = ("training_hours", "device_hours", "usd", "extra_usd")


@dataclass(frozen=True)
class Estimate:
    """A figure over seeds; what one seed cannot tell is None."""

    mean: float
    sd: float | None
    low: float | None
    high: float | None


def over_seeds(by_seed: Mapping[int, float]) -> Estimate:
    """Mean, standard deviation and Student's interval of one value a seed."""
    values = list(by_seed.values())
    if len(values) < 2:
        return Estimate(values[0], None, None, None)
    return Estimate(statistics.fmean(values), statistics.stdev(values), *student(values))


def comparison(arms: Sequence[Arm], metrics: Sequence[str] = METRICS) -> pd.DataFrame:
    """The table, tidy: axes, policy, mode, seeds, episodes, set, digest, `<metric>_mean|sd|low|high`, costs.

    `final agent` is the last checkpoint and `best agent` the one that the validation episodes chose; no figure is the
    peak of a curve. The start, which all arms of a seed share, stands once. Of one seed, success has Wilson's interval
    over the episodes, and nothing has a deviation.

    Raises:
        UserError: a metric that no run has.
    """
    _check(arms, metrics)
    costs = cost_table(arms)
    rows = [
        _row(arm.values, who, mode, finals, metrics)
        | ({} if who == "start" else _costs(costs, index) | {"env_steps": _steps(arm)})
        for who in WHO
        for index, arm, finals in _plays(arms, who)
        for mode in MODES
    ]
    return pd.DataFrame(rows)


def _plays(arms: Sequence[Arm], who: str) -> list[tuple[int, Arm, dict[int, list[Final]]]]:
    """Who played, by arm and seed; the start of all arms together where each seed has only one."""
    found = []
    for index, arm in enumerate(arms):
        finals = {s: [r.finals[who] for r in runs if who in r.finals] for s, runs in arm.by_seed().items()}
        finals = {seed: played for seed, played in finals.items() if played}
        if finals:
            found.append((index, arm, finals))
    if who == "start":
        keys: dict[int, dict[str, Final]] = {}
        for _, _, finals in found:
            for seed, played in finals.items():
                keys.setdefault(seed, {}).update({final.key: final for final in played})
        if all(len(of_seed) == 1 for of_seed in keys.values()):
            shared = Arm(dict.fromkeys(arms[0].values, ""), arms[0].runs)
            return [(0, shared, {seed: list(of_seed.values()) for seed, of_seed in keys.items()})]
    return found


def _row(
    values: Mapping[str, Any], who: str, mode: str, finals: Mapping[int, Sequence[Final]], metrics: Sequence[str]
) -> dict[str, Any]:
    first = next(iter(finals.values()))[0]
    row: dict[str, Any] = dict(values) | {"policy": WHO[who], "mode": mode, "seeds": len(finals)}
    played = [final for of_seed in finals.values() for final in of_seed]
    n = round(sum(final.figures[mode]["episodes"] for final in played))
    row |= {"episodes": n, "set": first.set, "digest": first.digest}
    for metric in metrics:
        by_seed = {
            seed: statistics.fmean(final.figures[mode][metric] for final in of_seed)
            for seed, of_seed in finals.items()
            if all(metric in final.figures[mode] for final in of_seed)
        }
        if not by_seed:
            continue
        found = over_seeds(by_seed)
        if len(played) == 1 and metric == "success_rate":
            found = Estimate(found.mean, None, *wilson(round(found.mean * n), n))
        if metric.endswith("_rate") and found.low is not None and found.high is not None:
            found = Estimate(found.mean, found.sd, max(0.0, found.low), min(1.0, found.high))
        row |= {f"{metric}_{what}": getattr(found, what) for what in ("mean", "sd", "low", "high")}
    return row


def _costs(costs: pd.DataFrame, index: int) -> dict[str, float]:
    kept = [c for c in costs.columns if c in COSTS or "_vs_" in c]
    return {column: float(costs.iloc[index][column]) for column in kept}


def _steps(arm: Arm) -> float:
    return statistics.fmean(max(m["metrics"]["env_steps"] for m in run.of("update")) for run in arm.runs)


def _check(arms: Sequence[Arm], metrics: Sequence[str]) -> None:
    known = list(
        dict.fromkeys(
            name
            for arm in arms
            for run in arm.runs
            for final in run.finals.values()
            for figures in final.figures.values()
            for name in figures
        )
    )
    for metric in metrics:
        if metric not in known and metric not in METRICS:  # a game without an oracle has no thought accuracy
            near = difflib.get_close_matches(metric, known, n=1, cutoff=0.3) or known[:1]
            raise UserError(f"None of these runs has a metric '{metric}': did you mean '{near[0]}'?")
