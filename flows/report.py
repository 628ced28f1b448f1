"""The report: one self-contained HTML page with the table, the curves and how to reproduce them."""

import io
from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
import pandas as pd
from jinja2 import Environment, FileSystemLoader, select_autoescape
from markupsafe import Markup
from matplotlib.figure import Figure

from flows.compare import curves, read_record, table
from flows.runs import Run

COLOURS = {"ppo": "#6b7280", "turbo_sft": "#d97706", "turbo_kl": "#2563eb", "gtr": "#059669", "distill": "#9333ea"}
TEMPLATES = Path(__file__).with_name("templates")
# (title, y label, metrics as (name, line style, what it is))
CHARTS = (
    (
        "Success on validation hands, greedy",
        "success rate",
        (("agent/success_rate", "-", "agent"), ("teacher/success_rate", "--", "teacher")),
    ),
    (
        "Thoughts right by the solver, validation",
        "share of turns",
        (("agent/thought_accuracy", "-", "agent"), ("teacher/thought_accuracy", "--", "teacher")),
    ),
    ("Success in training, sampled", "success rate", (("rollout/success_rate", "-", "agent"),)),
    ("Thoughts right in training, sampled", "share of turns", (("rollout/thought_accuracy", "-", "agent"),)),
    ("Diversity of thoughts in training", "distinct thoughts a turn", (("rollout/thought_distinct", "-", "agent"),)),
    ("Guidance: mean KL penalty a turn", "nats a token", (("guidance/kl_mean", "-", "agent to teacher"),)),
    ("Change of the policy in an update", "KL(old, new), nats an answer", (("ppo/kl_old_new", "-", "agent"),)),
    ("Critic", "explained variance", (("critic/explained_variance", "-", "critic"),)),
)


def render(runs: Sequence[Run]) -> str:
    """The page's HTML; no network is needed to show it."""
    data = curves(runs)
    charts = [Markup(chart(data, *spec)) for spec in CHARTS if any(m[0] in set(data.metric) for m in spec[2])]
    environment = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=select_autoescape())
    rows = table(runs).to_dict("records")
    starts = data[(data.metric == "ppo/ratio_start_error")]
    return environment.get_template("report.html").render(
        runs=runs,
        records=[read_record(run) for run in runs],
        rows=rows,
        charts=charts,
        ratio_error=f"{starts.value.max():.1e}" if len(starts) else "not measured",
        experiment=runs[0].experiment,
        seeds=sorted({r.experiment.seed for r in runs}),
    )


def chart(data: pd.DataFrame, title: str, ylabel: str, metrics: Sequence[tuple[str, str, str]]) -> str:
    """One chart as SVG: the mean over seeds a method, with a band from the lowest to the highest seed."""
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "gtr", "font.family": "sans-serif", "font.size": 9}):
        figure = Figure(figsize=(5.2, 3.1), layout="constrained")
        axes = figure.subplots()
        for metric, style, what in metrics:
            for method, group in data[data.metric == metric].groupby("method", sort=False):
                by_step = group.groupby("step").value
                mean = by_step.mean()
                colour = COLOURS[str(method)]
                axes.plot(mean.index, mean, style, color=colour, label=f"{method} {what}", linewidth=1.5)
                if group.seed.nunique() > 1:
                    axes.fill_between(mean.index, by_step.min(), by_step.max(), color=colour, alpha=0.12, linewidth=0)
        axes.set_title(title, loc="left", fontsize=10)
        axes.set_xlabel("environment steps")
        axes.set_ylabel(ylabel)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25)
        axes.legend(fontsize=7, frameon=False)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    svg = buffer.getvalue()
    return svg[svg.index("<svg") :]
