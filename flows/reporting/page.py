"""The report: one self-contained HTML page, which needs no network and reads on a phone and in print."""

from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, FileSystemLoader, select_autoescape
from markupsafe import Markup

from flows.reporting import charts
from flows.reporting.comparison import Comparison
from flows.reporting.curves import X, curves
from flows.reporting.family import family
from flows.reporting.words import COST_LEGEND, LEGEND, cost_rows, heading, pair_rows, rows
from gtr_core.evaluation.warning_rules import RunWarning

TEMPLATES = Path(__file__).parent
EPISODES = 4  # shown of each arm: the first ones of the set, the same for all
CURVES = (
    ("agent/thought_accuracy", "Thoughts right, validation", "share of judged turns"),
    ("rollout/success_rate", "Success in training, sampled", "share of episodes"),
    ("rollout/thought_accuracy", "Thoughts right in training", "share of judged turns"),
    ("rollout/thought_distinct", "Diversity in training", "distinct thoughts a turn"),
    ("rollout/self_bleu_2", "Sameness of thoughts in training", "self-BLEU-2, 1 = all alike"),
    ("rollout/valid_rate", "Valid answers in training", "share of turns"),
    ("guidance/kl_mean", "KL penalty", "nats a thought token"),
    ("ppo/kl_old_new", "Change in an update", "KL(old, new), nats an answer"),
    ("critic/explained_variance", "Critic", "explained variance"),
)


def render(found: Comparison, mlflow: str = "") -> str:
    """The page's HTML; `mlflow` is a link to the same runs there."""
    points = curves(found.arms)
    runs = found.selection.runs
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=select_autoescape(), trim_blocks=True, lstrip_blocks=True
    )
    first = runs[0].run.experiment
    starts = points[points.metric == "ppo/ratio_start_error"]
    return environment.get_template("report.html").render(
        title=found.selection.title,
        experiment=first,
        heading=heading(found),
        notes=found.notes,
        mlflow=mlflow,
        tables={
            "final": (*rows(found), LEGEND),
            "pairs": (*pair_rows(found.main_pairs), ""),
            "cost": (*cost_rows(found), COST_LEGEND),
        },
        learning=_shown(_learning(found, points)),
        maps=_shown(_maps(found)),
        longitudinal=_shown(_longitudinal(found, points)),
        inside=_shown(charts.lines(points, found.arms, *spec) for spec in CURVES),
        stages=Markup(charts.stage_seconds(found.costs, [arm.label for arm in found.arms])),
        warnings=[(run.name, str(RunWarning(**w))) for run in runs for w in run.record.get("warnings", ())],
        families=[(run.name, tree) for run in runs if (tree := family(run)) is not None],
        episodes=list(_episodes(found)),
        commands=dict.fromkeys(str(run.record["command"]) for run in runs),
        runs=runs,
        ratio_error=f"{starts.value.max():.1e}" if len(starts) else "",
    )


def _shown(plots: Iterator[str | None]) -> list[Markup]:
    return [Markup(plot) for plot in plots if plot is not None]


def _learning(found: Comparison, points: pd.DataFrame) -> Iterator[str | None]:
    for x in X:
        title = f"Success, greedy, {_validation(found)}"
        yield charts.lines(points, found.arms, "agent/success_rate", title, "share of episodes won", x)


def _longitudinal(found: Comparison, points: pd.DataFrame) -> Iterator[str | None]:
    for arm in found.arms:
        yield charts.through_training(points, arm, _validation(found), "success_rate", "share of episodes won")
        yield charts.through_training(
            points, arm, _validation(found), "thought_accuracy", "thoughts right, share of turns"
        )


def _validation(found: Comparison) -> str:
    counts = sorted({run.run.experiment.evaluation.curve_episodes for run in found.selection.runs})
    return f"{' or '.join(map(str, counts))} validation episodes"


def _maps(found: Comparison) -> Iterator[str]:
    """A map of the first two axes with several values, one for each combination of the others'."""
    table = found.table[(found.table.policy == "final agent") & (found.table["mode"] == "sampled")]
    several = [axis for axis in found.axes if table[axis].nunique() > 1]
    if len(several) < 2:
        return
    down, across, *others = several
    for fixed in product(*(sorted(set(table[axis]), key=str) for axis in others)):
        part = table
        for axis, value in zip(others, fixed, strict=True):
            part = part[part[axis] == value]
        if part.empty:
            continue
        words = ", ".join(f"{axis}={value}" for axis, value in zip(others, fixed, strict=True))
        values = part.pivot_table(index=down, columns=across, values="success_rate_mean")
        fewest = int(part.seeds.min())
        seeds = f"{fewest} seed{'s' * (fewest > 1)} a cell"
        yield charts.heat(values, f"Success of the final agent, sampled{', ' + words if words else ''}", seeds)


def _episodes(found: Comparison) -> Iterator[tuple[str, str, Sequence[dict[str, Any]]]]:
    """The first episodes of the set, as the final agent of each arm's first seed played them."""
    for arm in found.arms:
        run = next(iter(arm.by_seed().values()))[0]
        yield arm.label, run.name, run.finals["agent"].episodes("sampled")[:EPISODES]
