"""A comparison in words: on the terminal, as Markdown, CSV and JSON."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from rich.console import Console
from rich.table import Table

from flows.reporting.comparison import Comparison
from flows.reporting.differences import TEACHER_AHEAD
from flows.say import say

Grid = tuple[list[str], list[list[str]]]  # the head and the rows
SHORT = {
    "success_rate": "success",
    "return_mean": "return",
    "valid_rate": "valid",
    "thought_distinct": "diverse",
    "thought_accuracy": "thought",
}
LEGEND = (
    "best agent: the checkpoint that the validation episodes chose. Return and what follows are of sampled play. "
    "thought: all its fields right by the solver or expert; diverse: distinct thoughts a turn."
)
COST_LEGEND = (
    "training: rollout, guide, update and merge, in device-hours by the clock, which a busy machine stretches. "
    "$: all stages and what was asked of an endpoint. "
    "extra $: the paper's way to count, one more device for a merged teacher, or the endpoint."
)


def written(found: Comparison, how: str, *, pairs: bool = False) -> str:
    """The comparison as `csv`, `json` or `markdown`; with `pairs` its differences instead (json has both)."""
    if how == "csv":
        return (found.pairs if pairs else found.table).to_csv(index=False)
    if how == "json":
        tables = {"rows": found.table, "differences": found.pairs, "costs": found.costs}
        whole = {"title": found.selection.title, "axes": found.axes, "notes": list(found.notes)}
        return json.dumps(whole | {name: records(data) for name, data in tables.items()}, indent=1) + "\n"
    parts = (
        [] if pairs else [heading(found), _markdown(*rows(found)), LEGEND, _markdown(*cost_rows(found)), COST_LEGEND]
    )
    if len(found.pairs):
        parts += [_markdown(*pair_rows(found.pairs))]
    return "\n\n".join([*parts, *found.notes]) + "\n"


def show(found: Comparison) -> None:
    """Print the tables, in 80 columns where the arms' names leave room."""
    console = Console()
    wide = console if console.is_terminal else Console(width=200)  # a file is not cut off
    for text, grid, legend in (
        (heading(found), rows(found), LEGEND),
        ("Differences on the same episodes, 95 % by bootstrap over deals and seeds", pair_rows(found.main_pairs), ""),
        ("Cost, means over runs", cost_rows(found), COST_LEGEND),
    ):
        if not grid[1]:
            continue
        say(text, result=True)
        _print(wide, *grid)
        say(f"{legend}\n", result=True)
    for note in found.notes:
        say(note, result=True)


def heading(found: Comparison) -> str:
    """`Points24-test-400-seed0 (e72a6c1b), 400 episodes a seed, 3 seeds: mean +-deviation [95 % t interval]`."""
    row = found.table.iloc[0]
    counts = sorted({int(n) for n in found.table.seeds})
    seeds = f"{counts[-1]} seed{'s' * (counts[-1] > 1)}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]} seeds"
    spread = "mean ±deviation [95 % t interval]" if counts[-1] > 1 else "[95 % Wilson interval]"
    return f"{row.set} ({row.digest[:8]}), {round(row.episodes / row.seeds)} episodes a seed, {seeds}: {spread}"


def rows(found: Comparison) -> Grid:
    """One row an arm and policy, greedy and sampled success side by side, the rest of sampled play."""
    others = [m for m in found.metrics if m != "success_rate"]
    head = ["policy", "seeds", "n", "greedy", "sampled", *(SHORT.get(m, m) for m in others)]
    labels = {_key(found, arm.values): arm.label for arm in found.arms}
    cells: dict[tuple[str, ...], list[str]] = {}
    for r in records(found.table):
        key = (*_key(found, r), r["policy"])
        name = f"{labels.get(_key(found, r), '')} {r['policy'].removeprefix('final ')}".strip()
        row = cells.setdefault(key, [name, str(r["seeds"]), str(r["episodes"]), "", "", *([""] * len(others))])
        row[3 if r["mode"] == "greedy" else 4] = estimate(r, "success_rate", interval=True)
        if r["mode"] == "sampled":
            row[5:] = [estimate(r, m, interval=False) for m in others]
    return head, list(cells.values())


def pair_rows(pairs: pd.DataFrame) -> Grid:
    """One row a pair of arms and policy: success greedy and sampled, return sampled."""
    head = ["a - b", "policy", "greedy", "sampled", "return", "seeds", "deals"]
    cells: dict[tuple[str, ...], list[str]] = {}
    for r in records(pairs):
        key = (f"{r['a']} - {r['b']}", r["policy"].removeprefix("final "))
        if r["policy"] == TEACHER_AHEAD:
            key = (r["a"], "- agent")
        row = cells.setdefault(key, [*key, "", "", "", str(r["seeds"]), str(r["deals"])])
        column = {("success", "greedy"): 2, ("success", "sampled"): 3, ("return", "sampled"): 4}
        place = column.get((r["outcome"], r["mode"]))
        if place is not None:
            digits = 2 if r["outcome"] == "return" else 3
            mean, low, high = (_short(r[what], digits, "+") for what in ("difference", "low", "high"))
            row[place] = f"{mean} [{low},{high}]"
    return head, list(cells.values())


def cost_rows(found: Comparison) -> Grid:
    """One row an arm: hours, money, tokens, and what they are relative to `gtr` and `ppo`."""
    ratios = [c for c in found.costs.columns if "_vs_" in c]
    head = ["arm", "training h", "all h", "$", "extra $", "generated", "scored", "external tokens"]
    head += [c.replace("_vs_", " / ") for c in ratios]
    cells = []
    for arm, r in zip(found.arms, records(found.costs), strict=True):
        hours = [f"{r[c]:.3f}" for c in ("training_hours", "device_hours")]
        money = [f"{r[c]:.4f}" if r[c] < 1 else f"{r[c]:.2f}" for c in ("usd", "extra_usd")]
        tokens = [_count(r[c]) for c in ("tokens_generated", "tokens_scored", "external_tokens")]
        cells.append([arm.label, *hours, *money, *tokens, *(f"x{r[c]:.2f}" for c in ratios)])
    return head, cells


def estimate(row: Mapping[str, Any], metric: str, *, interval: bool) -> str:
    """`.205 ±.021 [.17,.25]`; what is not known is left out."""
    mean, sd, low, high = (row.get(f"{metric}_{what}") for what in ("mean", "sd", "low", "high"))
    if mean is None:
        return ""
    digits = 2 if metric == "return_mean" else 3
    text = _short(mean, digits) + (f" ±{_short(sd, digits)}" if sd is not None else "")
    return text + (
        f" [{_short(low, 2)},{_short(high, 2)}]" if interval and low is not None and high is not None else ""
    )


def records(data: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows as plain values; what is not known is None."""
    found: list[dict[str, Any]] = json.loads(data.to_json(orient="records", double_precision=15))
    return found


def _key(found: Comparison, values: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(str(values[axis]) for axis in found.axes)


def _short(value: float, digits: int, sign: str = "") -> str:
    """A rate without its leading zero."""
    return f"{value:{sign}.{digits}f}".replace("0.", ".", 1) if abs(value) < 1 else f"{value:{sign}.{digits}f}"


def _count(n: float) -> str:
    for size, unit in ((1e6, "M"), (1e3, "k")):
        if n >= size:
            return f"{n / size:.1f}{unit}"
    return f"{n:.0f}"


def _markdown(head: Sequence[str], cells: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *cells))


def _print(console: Console, head: Sequence[str], cells: Sequence[Sequence[str]]) -> None:
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False)
    for i, name in enumerate(head):
        table.add_column(name, no_wrap=i > 0)
    for row in cells:
        table.add_row(*row)
    console.print(table, markup=False)
