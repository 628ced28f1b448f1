"""Curves of arms: what each metric was at each step, seed by seed, and what that had cost."""

from collections.abc import Sequence

import pandas as pd

from flows.reporting.arms import Arm
from flows.reporting.costs import cost_curve
from flows.reporting.finished import Finished

X = ("step", "training_hours", "usd")


def curves(arms: Sequence[Arm]) -> pd.DataFrame:
    """Every point: columns arm, run, seed, metric, step, iteration, value, training_hours, usd.

    Hours and dollars are those of training up to the checkpoint of that step.
    """
    frames = [_with_cost(run).assign(arm=arm.label, run=run.name, seed=run.seed) for arm in arms for run in arm.runs]
    return pd.concat(frames, ignore_index=True)


def over_runs(points: pd.DataFrame, x: str = "step") -> pd.DataFrame:
    """One row a step: x (mean over runs), mean, lowest and highest value."""
    grouped = points.groupby("step")
    return pd.DataFrame(
        {
            "x": grouped[x].mean() if x != "step" else grouped.step.first(),
            "mean": grouped.value.mean(),
            "low": grouped.value.min(),
            "high": grouped.value.max(),
        }
    )


def _with_cost(run: Finished) -> pd.DataFrame:
    return run.curves.merge(cost_curve(run), on="step", how="left")
