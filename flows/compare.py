"""Finished runs as tables: who succeeded how often, with intervals, by arm and seed."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console
from rich.table import Table

from flows.runs import RECORD, Run
from gtr_core.errors import UserError
from gtr_core.evaluation.intervals import wilson
from gtr_core.files import read_json
from tasks.metrics import read_metrics

WHO = ("start", "agent", "teacher", "mean")
LABELS = {"start": "start", "agent": "final agent", "teacher": "TIES teacher", "mean": "plain mean"}
SHORT = {"start": "start", "final agent": "agent", "TIES teacher": "TIES", "plain mean": "mean"}
COLUMNS = (
    "success_rate",
    "return_mean",
    "valid_rate",
    "thought_accuracy",
    "thought_cards",
    "thought_plan",
    "thought_distinct",
)


def finals(runs: Sequence[Run]) -> pd.DataFrame:
    """One row a run, policy (start, agent, teacher, mean) and mode (greedy, sampled), with the final figures.

    Raises:
        UserError: a run has not finished.
    """
    rows = []
    for run in runs:
        record = read_record(run)
        for who in WHO:
            for mode in ("greedy", "sampled"):
                prefix = f"final_{who}/{mode}_"
                found = {k.removeprefix(prefix): v for k, v in record["metrics"].items() if k.startswith(prefix)}
                if found:
                    seconds = sum(s["seconds"] for s in record["stages"])
                    rows.append(
                        {"method": record["method"], "seed": record["seed"], "who": who, "mode": mode}
                        | found
                        | {"seconds": seconds}
                    )
    return pd.DataFrame(rows)


def curves(runs: Sequence[Run]) -> pd.DataFrame:
    """Every metric of every iteration: columns method, seed, metric, step, value."""
    rows: list[dict[str, Any]] = []
    for run in runs:
        record = read_record(run)
        for s in record["stages"]:
            folder = run.workspace / "store" / s["stage"] / s["key"]
            rows += [
                {"method": record["method"], "seed": record["seed"], "metric": m.key, "step": m.step, "value": m.value}
                for m in read_metrics(folder)
            ]
    return pd.DataFrame(rows)


def read_record(run: Run) -> dict[str, Any]:
    """A finished run's record.

    Raises:
        UserError: it has not finished.
    """
    path = run.directory / RECORD
    if not path.is_file():
        raise UserError(f"The run {run.key} has not finished: `gtr status {run.name}` shows where it stands.")
    record: dict[str, Any] = read_json(path)
    return record


def table(runs: Sequence[Run]) -> pd.DataFrame:
    """The comparison: one row a method and policy, greedy and sampled side by side, pooled over seeds.

    Success has Wilson's 95 % interval over all episodes of all seeds. The start is the same for every method of a seed
    and stands once.
    """
    data = finals(runs)
    rows = []
    for who in WHO:
        part = data[data.who == who]
        groups = [("all", part.drop_duplicates(["seed", "mode"]))] if who == "start" else list(part.groupby("method"))
        for method, group in groups:
            row: dict[str, Any] = {"method": "" if who == "start" else method, "policy": LABELS[who]}
            for mode, sub in group.groupby("mode"):
                n = int(sub.episodes.sum())
                low, high = wilson(round(float((sub.success_rate * sub.episodes).sum())), n)
                row |= {f"{mode}_{c}": float(sub[c].mean()) for c in COLUMNS if c in sub}
                row |= {f"{mode}_low": low, f"{mode}_high": high, "episodes": n}
            row["seconds"] = float(group.drop_duplicates("seed").seconds.mean())
            rows.append(row)
    return pd.DataFrame(rows)


def print_table(runs: Sequence[Run]) -> None:
    """The comparison on the terminal, 80 columns wide."""
    data = table(runs)
    seeds = sorted({run.experiment.seed for run in runs})
    n = int(data.episodes.max())
    shown = Table(
        title=f"Held-out deals: success of {n} episodes a figure, seeds {', '.join(map(str, seeds))}; 95 % intervals",
        box=None,
        padding=(0, 1, 0, 0),
        pad_edge=False,
    )
    for name in ("policy", "greedy", "sampled", "return", "valid", "thought", "diverse", "s"):
        shown.add_column(name, justify="left" if name == "policy" else "right", no_wrap=True)
    for _, r in data.iterrows():
        shown.add_row(
            f"{r.method} {SHORT[r.policy]}".strip(),
            _share(r.greedy_success_rate, r.greedy_low, r.greedy_high),
            _share(r.sampled_success_rate, r.sampled_low, r.sampled_high),
            f"{r.sampled_return_mean:.2f}",
            f"{r.sampled_valid_rate:.3f}",
            f"{r.sampled_thought_accuracy:.3f}",
            f"{r.sampled_thought_distinct:.3f}",
            "" if r.policy != LABELS["agent"] else f"{r.seconds:.0f}",
        )
    console = Console()
    console.print(shown)
    console.print(
        "agent is the final agent, TIES the TIES teacher, mean the plain mean of the checkpoints. return, valid "
        "(answers), thought (all its fields right by the solver) and diverse (distinct thoughts a turn) are of sampled "
        "play; s is the run's computing time in seconds, shared stages included.",
        markup=False,
        highlight=False,
    )


def _share(rate: float, low: float, high: float) -> str:
    """`.205 [.17,.25]`; a rate of 1 keeps its digit."""
    short = [f"{value:.{digits}f}".removeprefix("0") for value, digits in ((rate, 3), (low, 2), (high, 2))]
    return f"{short[0]} [{short[1]},{short[2]}]"


def write_report(runs: Sequence[Run], out: Path) -> Path:
    """Write the HTML page, and keep it as an artifact of each of its MLflow runs."""
    from flows.report import render
    from tasks.tracking import Tracker

    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(render(runs))
    for run in runs:
        Tracker.reopen(run.workspace, run.key).log_artifact(out)
    return out.absolute()
