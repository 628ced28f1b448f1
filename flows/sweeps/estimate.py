"""What a sweep would do: which stages are there, which cells share, and what the rest will take."""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from flows.experiment import Plan
from flows.runs.events import kind_of
from flows.runs.run import workspace
from flows.runs.sweep_spec import Cell, Sweep, cells, read_sweep
from flows.say import say
from flows.sweeps.local import jobs_for
from tasks.store.remote import shared_store
from tasks.store.stage import Stage
from tasks.store.store import StageStore


@dataclass(frozen=True)
class Guess:
    """What computing one stage takes, by the past."""

    seconds: float
    on_gpu: bool
    alike: bool  # of stages with the very same settings; else of the same kind, whatever their size


@dataclass(frozen=True)
class PlannedStage:
    """One stage of one cell."""

    name: str
    key: str
    state: str  # there | shared (an earlier cell computes it) | to compute
    guess: Guess | None = None  # of a stage to compute; None without any past


@dataclass(frozen=True)
class PlannedCell:
    """One cell and its stages in order."""

    cell: Cell
    stages: Sequence[PlannedStage]

    def names(self, state: str) -> list[str]:
        """The stages in that state."""
        return [stage.name for stage in self.stages if stage.state == state]


def dry_run(path: Path, overrides: Sequence[str], *, jobs: int | None, as_json: bool) -> dict[str, Any]:
    """Print what a sweep would do; the plan as plain values. Nothing is written."""
    home, sweep = workspace(), read_sweep(path)
    found = cells(sweep, home, overrides)
    planned = plan_cells(found, home)
    if not as_json:
        print_plan(planned, sweep, jobs or jobs_for(found[0].run.experiment))
    return to_json(planned, sweep)


def plan_cells(found: Sequence[Cell], home: Path) -> list[PlannedCell]:
    """Every cell's stages, each counted as computed once in the whole sweep. Nothing is written."""
    store = StageStore(home / "store", shared=shared_store(found[0].run.experiment.execution.store))
    past = _Past(store)
    seen: set[str] = set()
    result = []
    for cell in found:
        stages = []
        planned = Plan(cell.run, store)
        for name, record in planned.records.items():
            state = "there" if record.state == "reused" else "shared" if record.key in seen else "to compute"
            seen.add(record.key)
            guess = past.guess(planned.stages[name]) if state == "to compute" else None
            stages.append(PlannedStage(name, record.key, state, guess))
        result.append(PlannedCell(cell, stages))
    return result


class _Past:
    """The seconds of finished stages: of those with equal settings, else of the kind."""

    def __init__(self, store: StageStore) -> None:
        self.store = store
        self.alike: dict[str, dict[str, list[dict[str, Any]]]] = {}
        self.kinds: dict[str, dict[str, list[dict[str, Any]]]] = {}

    def guess(self, planned: Stage[Any]) -> Guess | None:
        stage, config = planned.kind, planned.settings["config"]
        if stage not in self.alike:
            self._read(stage)
        settings = json.dumps(config, sort_keys=True)
        found = self.alike[stage].get(settings) or self.kinds[stage].get(_kind(stage, config))
        if not found:
            return None
        seconds = sum(manifest["seconds"] for manifest in found) / len(found)
        newest = max(found, key=lambda manifest: str(manifest["created"]))
        return Guess(seconds, not newest["device"].startswith("cpu"), settings in self.alike[stage])

    def _read(self, stage: str) -> None:
        alike, kinds = self.alike.setdefault(stage, defaultdict(list)), self.kinds.setdefault(stage, defaultdict(list))
        for manifest in self.store.manifests(stage):
            alike[json.dumps(manifest["config"], sort_keys=True)].append(manifest)
            kinds[_kind(stage, manifest["config"])].append(manifest)


def _kind(stage: str, config: Mapping[str, Any]) -> str:
    """An update of SFT costs more than one of PPO, a final evaluation more than a curve's point."""
    return f"{stage} {config.get('method', '')} {config.get('split', '')}"


def totals(planned: Sequence[PlannedCell], usd_per_gpu_hour: float) -> dict[str, Any]:
    """Seconds, GPU-hours and money of all that is to be computed, and how well they are known."""
    new = [stage for cell in planned for stage in cell.stages if stage.state == "to compute"]
    known = [stage.guess for stage in new if stage.guess is not None]
    gpu_hours = sum(guess.seconds for guess in known if guess.on_gpu) / 3600
    return {
        "stages": sum(len(cell.stages) for cell in planned),
        "there": sum(len(cell.names("there")) for cell in planned),
        "shared": sum(len(cell.names("shared")) for cell in planned),
        "to_compute": len(new),
        "seconds": sum(guess.seconds for guess in known),
        "gpu_hours": gpu_hours,
        "usd": gpu_hours * usd_per_gpu_hour,
        "without_past": sorted({kind_of(stage.name) for stage in new if stage.guess is None}),
        "of_other_size": sum(not guess.alike for guess in known),
    }


def to_json(planned: Sequence[PlannedCell], sweep: Sweep) -> dict[str, Any]:
    """The plan as plain values."""
    return {
        "sweep": sweep.name,
        "cells": [
            {
                "cell": p.cell.label,
                "run": p.cell.run.key,
                "overrides": list(p.cell.overrides),
                "stages": [{"stage": s.name, "key": s.key, "state": s.state} for s in p.stages],
                "seconds": _seconds(p),
            }
            for p in planned
        ],
        "total": totals(planned, _price(planned)),
    }


def print_plan(planned: Sequence[PlannedCell], sweep: Sweep, jobs: int) -> None:
    """The cells, a line each, and what they come to."""
    console = Console()
    table = Table("cell", "there", "shared", "to compute", "seconds", title=f"Sweep {sweep.name}")
    for p in planned:
        seconds, left = _seconds(p), len(p.names("to compute"))
        told = "?" if seconds is None else f"{seconds:.0f}"
        there = "all" if len(p.names("there")) == len(p.stages) else _spans(p.names("there"))
        table.add_row(p.cell.label, there or "-", _spans(p.names("shared")) or "-", f"{left} stages", told)
    console.print(table)
    price = _price(planned)
    total = totals(planned, price)
    say(
        f"{len(planned)} cells, {total['stages']} stages: {total['there']} there, {total['shared']} shared with an "
        f"earlier cell, {total['to_compute']} to compute.",
        result=True,
    )
    say(_cost(total, price, min(jobs, len(planned))), result=True)


def _price(planned: Sequence[PlannedCell]) -> float:
    """Dollars an hour of a GPU, which is one for all cells unless the sweep is over it."""
    return max(p.cell.run.experiment.prices.usd_per_gpu_hour for p in planned)


def _cost(total: dict[str, Any], price: float, jobs: int) -> str:
    if not total["to_compute"]:
        return "Nothing is left to compute."
    unknown = ", ".join(total["without_past"])
    if not total["seconds"]:
        return f"No estimate: this workspace has no past stage of these kinds ({unknown})."
    parts = [
        f"About {total['seconds']:.0f} s of computing, at best {total['seconds'] / jobs:.0f} s with --jobs {jobs}; "
        f"{total['gpu_hours']:.2f} GPU-hours, ${total['usd']:.2f} at ${price:.2f} an hour"
    ]
    if total["of_other_size"]:
        parts.append(f"{total['of_other_size']} stages are guessed from stages of their kind with other settings")
    if unknown:
        parts.append(f"without {unknown}, of which there is no past")
    return "; ".join(parts) + "."


def _seconds(planned: PlannedCell) -> float | None:
    """Of what the cell computes; None where some of it has no past."""
    guesses = [stage.guess for stage in planned.stages if stage.state == "to compute"]
    known = [guess.seconds for guess in guesses if guess is not None]
    return sum(known) if len(known) == len(guesses) else None


def _spans(names: Sequence[str]) -> str:
    """`warm_start, rollout 1-3, evaluate 2, final start`: what belongs to an iteration in spans of iterations."""
    iterations: dict[str, list[int]] = {}
    for name in names:
        kind, _, rest = name.removeprefix("evaluate-final-").partition("-")
        number = rest.partition("-")[0]
        group = iterations.setdefault(f"final {kind}" if name.startswith("evaluate-final") else kind, [])
        if number and int(number) not in group:
            group.append(int(number))
    return ", ".join(f"{kind} {_ranges(found)}".rstrip() for kind, found in iterations.items())


def _ranges(numbers: Sequence[int]) -> str:
    spans: list[list[int]] = []
    for n in numbers:
        if spans and n == spans[-1][1] + 1:
            spans[-1][1] = n
        else:
            spans.append([n, n])
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in spans)
