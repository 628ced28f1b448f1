"""The page's plots as inline SVG: every axis has its unit, every title what a point is of."""

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from flows.reporting.arms import Arm
from flows.reporting.curves import over_runs

METHOD_COLOURS = {
    "ppo": "#6b7280",
    "turbo_sft": "#d97706",
    "turbo_kl": "#2563eb",
    "gtr": "#059669",
    "distill": "#9333ea",
}
PALETTE = ("#2563eb", "#d97706", "#059669", "#9333ea", "#dc2626", "#0891b2", "#65a30d", "#db2777", "#4b5563", "#a16207")
LINE_STYLES = {"agent": "-", "teacher": "--", "mean": ":", "start": "-."}
UNITS = {"step": "environment steps", "training_hours": "device-hours of training", "usd": "US dollars of training"}


class Plot:
    """One figure that becomes SVG text."""

    def __init__(self, title: str, xlabel: str, ylabel: str, *, height: float = 3.1) -> None:
        self.figure = Figure(figsize=(5.2, height), layout="constrained")
        self.axes: Axes = self.figure.subplots()
        self.axes.set_title(title, loc="left", fontsize=9.5)
        self.axes.set_xlabel(xlabel)
        self.axes.set_ylabel(ylabel)

    def svg(self) -> str:
        """The figure, without an XML head, the same text each time."""
        buffer = io.StringIO()
        self.figure.savefig(buffer, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
        text = buffer.getvalue()
        return text[text.index("<svg") :]


@contextmanager
def _style(salt: str) -> Iterator[None]:
    """Text stays text. The salt keeps the ids of one plot apart from those of its neighbours on the page."""
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": salt, "font.family": "sans-serif", "font.size": 9}):
        yield


def colours(arms: Sequence[Arm]) -> dict[str, str]:
    """A colour an arm: the method's own where the arms are the methods."""
    own = [METHOD_COLOURS.get(arm.label) for arm in arms]
    if all(own):
        return {arm.label: str(colour) for arm, colour in zip(arms, own, strict=True)}
    return {arm.label: PALETTE[i % len(PALETTE)] for i, arm in enumerate(arms)}


def lines(
    points: pd.DataFrame, arms: Sequence[Arm], metric: str, title: str, ylabel: str, x: str = "step"
) -> str | None:
    """One line an arm, the mean over its runs, with a band from the lowest to the highest; None without such points."""
    of_metric = points[points.metric == metric]
    if of_metric.empty:
        return None
    with _style(f"{metric} {x}"):
        plot = Plot(f"{title} ({_seeds(of_metric)})", UNITS[x], ylabel)
        for arm in arms:
            of_arm = of_metric[of_metric.arm == arm.label]
            if not of_arm.empty:
                _line(plot.axes, over_runs(of_arm, x), "-", colours(arms)[arm.label], arm.label)
        _finish(plot.axes)
        return plot.svg()


def through_training(points: pd.DataFrame, arm: Arm, episodes: str, what: str, ylabel: str) -> str | None:
    """Agent, teacher, plain mean and start of one arm on the validation episodes."""
    of_arm = points[points.arm == arm.label]
    if of_arm[of_arm.metric == f"agent/{what}"].empty:
        return None
    with _style(f"{arm.label} {what}"):
        plot = Plot(f"{arm.label}, {episodes} ({_seeds(of_arm)})", UNITS["step"], ylabel)
        for (who, style), colour in zip(LINE_STYLES.items(), PALETTE, strict=False):
            found = of_arm[of_arm.metric == f"{who}/{what}"]
            if who == "start" and not found.empty:
                plot.axes.axhline(found.value.mean(), linestyle=style, color=colour, linewidth=1.2, label=who)
            elif not found.empty:
                _line(plot.axes, over_runs(found), style, colour, who)
        _finish(plot.axes)
        return plot.svg()


def heat(values: pd.DataFrame, title: str, unit: str) -> str:
    """A map of two axes: `values` has the one as index, the other as columns; each cell says its number."""
    with _style(title):
        plot = Plot(title, str(values.columns.name), str(values.index.name))
        numbers = values.to_numpy(dtype=float)
        plot.axes.imshow(numbers, cmap="Blues", aspect="auto")
        plot.axes.set_xticks(range(len(values.columns)), [str(c) for c in values.columns])
        plot.axes.set_yticks(range(len(values.index)), [str(i) for i in values.index])
        middle = (np.nanmin(numbers) + np.nanmax(numbers)) / 2
        for i in range(len(values.index)):
            for j in range(len(values.columns)):
                value = numbers[i, j]
                if not np.isnan(value):
                    colour = "white" if value > middle else "#111827"
                    plot.axes.text(j, i, f"{value:.3f}", ha="center", va="center", color=colour)
        plot.axes.set_title(f"{title}, {unit}", loc="left", fontsize=9.5)
        return plot.svg()


def stage_seconds(costs: pd.DataFrame, labels: Sequence[str]) -> str:
    """Bars of each arm's hours, stage by stage."""
    stages = [c for c in costs.columns if c.endswith("_s")]
    with _style("stage seconds"):
        plot = Plot("Where the time goes (mean of an arm's runs)", "device-hours", "", height=1.2 + 0.35 * len(labels))
        left = [0.0] * len(labels)
        for colour, stage in zip(PALETTE, stages, strict=False):
            hours = (costs[stage].fillna(0.0) / 3600).tolist()
            plot.axes.barh(list(labels), hours, left=left, color=colour, label=stage.removesuffix("_s"), height=0.6)
            left = [a + b for a, b in zip(left, hours, strict=True)]
        plot.axes.invert_yaxis()
        plot.axes.spines[["top", "right"]].set_visible(False)
        plot.axes.legend(fontsize=7, frameon=False, ncols=4, loc="upper center", bbox_to_anchor=(0.4, -0.25))
        return plot.svg()


def _line(axes: Axes, found: pd.DataFrame, style: str, colour: str, label: str) -> None:
    axes.plot(found["x"], found["mean"], style, color=colour, label=label, linewidth=1.5, marker=".", markersize=3)
    axes.fill_between(found["x"], found["low"], found["high"], color=colour, alpha=0.12, linewidth=0)


def _finish(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)
    axes.legend(fontsize=7, frameon=False)


def _seeds(points: pd.DataFrame) -> str:
    counts = sorted(set(points.groupby("arm").seed.nunique()))
    n = str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    return f"{n} seed{'s' * (counts[-1] > 1)}"
