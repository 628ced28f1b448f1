"""`gtr status`: where the runs of a workspace stand, read from their journals."""

import json
from typing import Any

import psutil
from rich.console import Console
from rich.table import Table

from flows.runs.events import Progress, kind_of, read_events, read_progress
from flows.runs.run import Run, all_runs, find_run, workspace
from flows.say import say
from gtr_core.util.errors import UserError


def show_status(name: str | None, *, as_json: bool) -> None:
    """Print all runs, or one run's stages."""
    home = workspace()
    if name is None:
        runs = [_summary(run) for run in all_runs(home)]
        if not runs and not as_json:
            raise UserError(f"There are no runs in {home} yet: start one with `gtr demo` or `gtr run CONFIG`.")
        if as_json:
            print(json.dumps(runs))
        else:
            _print_runs(runs)
        return
    run = find_run(name, home)
    from flows.admin.explain import recomputed  # brings the stages, and torch with them
    from flows.reporting.costs import cost_so_far

    stages, again, cost = _stages(run), recomputed(run), cost_so_far(run).metrics()
    if as_json:
        print(json.dumps(_summary(run) | {"stages": stages, "recomputed": again, "cost": cost}))
    else:
        _print_stages(run, stages)
        _print_cost(cost)
        _print_recomputed(again)


def state_of(progress: Progress) -> str:
    """`finished`, `running`, `failed`, `stopped` (its process is gone) or `new`."""
    if progress.finished:
        return "finished"
    if progress.failed:
        return "failed"
    if not progress.total:
        return "new"
    return "running" if psutil.pid_exists(progress.pid) else "stopped"


def _summary(run: Run) -> dict[str, Any]:
    progress = read_progress(run.directory)
    return {
        "run": run.key,
        "state": state_of(progress),
        "stages_done": progress.done,
        "stages": progress.total,
        "current": progress.current,
        "seconds": round(sum(sum(v) for v in progress.seconds.values()), 1),
        "warnings": progress.warnings,
        "error": progress.failed or None,
    }


def _stages(run: Run) -> list[dict[str, Any]]:
    """The stages of the latest attempt: done, reused, running, failed or waiting."""
    progress = read_progress(run.directory)
    alive = state_of(progress)
    stages: dict[str, dict[str, Any]] = {}
    for event in read_events(run.directory):
        if event["event"] == "plan":
            stages = {name: {"stage": name, "state": "waiting", "seconds": None} for name in event["stages"]}
        elif event["event"] == "start":
            stages[event["stage"]]["state"] = alive if alive in ("running", "failed") else "stopped"
        elif event["event"] == "end":
            stages[event["stage"]] |= {"state": event["state"], "seconds": round(event["seconds"], 2)}
    return list(stages.values())


def _print_runs(runs: list[dict[str, Any]]) -> None:
    table = Table("run", "state", "stages", "computed (s)", "now")
    for r in runs:
        now = r["error"] or r["current"]
        table.add_row(r["run"], r["state"], f"{r['stages_done']}/{r['stages']}", f"{r['seconds']:.0f}", now)
    Console().print(table)


def _print_stages(run: Run, stages: list[dict[str, Any]]) -> None:
    summary = _summary(run)
    console = Console()
    say(f"{run.key}: {summary['state']}, {summary['stages_done']} of {summary['stages']} stages", result=True)
    kinds: dict[str, dict[str, float]] = {}
    for s in stages:
        row = kinds.setdefault(kind_of(s["stage"]), dict.fromkeys(("done", "reused", "left", "seconds"), 0.0))
        row[s["state"] if s["state"] in ("done", "reused") else "left"] += 1
        row["seconds"] += s["seconds"] or 0.0
    table = Table("stage", "done", "reused", "left", "computed (s)")
    for kind, row in kinds.items():
        table.add_row(kind, *(f"{row[k]:.0f}" for k in ("done", "reused", "left")), f"{row['seconds']:.1f}")
    console.print(table)
    for s in stages:
        if s["state"] in ("running", "failed", "stopped"):
            say(f"{s['state']}: {s['stage']}", result=True)
    for warning in summary["warnings"]:
        say(f"WARNING {warning}", result=True, style="yellow")
    if summary["error"]:
        say(summary["error"], result=True, style="red")


def _print_cost(cost: dict[str, float]) -> None:
    """Of every stage that is there, those reused included: what the run would have cost alone."""
    words = [
        f"{cost['cost/device_hours']:.3f} device-hours ({cost['cost/training_hours']:.3f} of training)",
        f"{cost['cost/tokens_generated']:.0f} tokens generated",
        f"{cost['cost/tokens_scored']:.0f} scored",
    ]
    if cost["cost/requests"]:
        words.append(f"{cost['cost/requests']:.0f} requests of {cost['cost/external_tokens']:.0f} tokens")
    say(f"cost: {', '.join(words)}; ${cost['cost/usd']:.4g} by `prices`", result=True)


def _print_recomputed(again: dict[str, list[str]]) -> None:
    """What the run's command would compute again, stages with the same reasons together."""
    from flows.admin.explain import OLDER

    older = [name for name, reasons in again.items() if reasons == [OLDER]]
    if older:
        say(
            f"{len(older)} stages were {OLDER}: the run's command would compute them anew. What is there can still be "
            "shown, compared and reported.",
            result=True,
        )
    groups: dict[tuple[str, ...], list[str]] = {}
    for name in (name for name in again if name not in older):
        reasons = again[name]
        groups.setdefault((kind_of(name), *reasons), []).append(name)
    console = Console()
    if groups:
        console.print("To be computed again, since the run's last such stage, for what changed in its key:")
    for (_, *reasons), names in groups.items():
        shown = names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"
        say(f"  {shown}: {'; '.join(reasons)}", result=True)
    if any(reason.startswith("code ") for reasons in again.values() for reason in reasons):
        say("`--accept-code-change` takes results that only older code sets apart.", result=True)
