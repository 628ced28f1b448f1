"""What runs have cost, read from the stages that they are made of."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from flows.reporting.arms import Arm
from flows.reporting.finished import Finished
from flows.runs.events import read_events
from flows.runs.run import Run
from gtr_core.config import Experiment
from gtr_core.evaluation.cost import TRAINING, Cost, StageUse, cost_of, relative
from gtr_core.guidance.base import guidance_of
from gtr_core.util.files import read_json
from tasks.store.store import MANIFEST

REFERENCES = ("gtr", "ppo")  # methods that others are set against


def uses(manifests: Iterable[Mapping[str, Any]]) -> list[StageUse]:
    """What the stages of these manifests used."""
    return [StageUse(m["stage"], m["seconds"], m["device"], m["metrics"]) for m in manifests]


def experiment_cost(experiment: Experiment, stages: Iterable[StageUse]) -> Cost:
    """The cost of some stages of an experiment, by its prices."""
    guidance = guidance_of(experiment)
    return cost_of(stages, experiment.prices, merged_teacher=guidance is not None and guidance.merged_teacher)


def cost_so_far(run: Run) -> Cost:
    """The cost of the stages that a run's journal says are there, whether or not it has ended."""
    events = read_events(run.directory)
    found = {event["key"]: event["of"] for event in events if event["event"] == "end"}
    paths = [run.workspace / "store" / stage / key / MANIFEST for key, stage in found.items()]
    return experiment_cost(run.experiment, uses(read_json(path) for path in paths if path.is_file()))


def run_cost(run: Finished) -> Cost:
    """The cost of a finished run."""
    return experiment_cost(run.run.experiment, uses(run.manifests))


def cost_curve(run: Finished) -> pd.DataFrame:
    """What training had cost when each checkpoint was made: columns step, training_hours, usd.

    The start and the evaluations are left out: they are the same for every method.
    """
    stages = [m for m in run.manifests if m["stage"] in TRAINING]
    rows = [{"step": 0, "training_hours": 0.0, "usd": 0.0}]
    for i, manifest in enumerate(stages):
        if manifest["stage"] == "update":
            cost = experiment_cost(run.run.experiment, uses(stages[: i + 1]))
            step = int(manifest["metrics"]["env_steps"])
            rows.append({"step": step, "training_hours": cost.training_hours, "usd": cost.usd})
    return pd.DataFrame(rows)


def cost_table(arms: Sequence[Arm]) -> pd.DataFrame:
    """One row an arm: means over its runs, and time and money relative to `gtr` and to `ppo` where they are arms.

    A reference is the arm of that method; where several are, they are averaged.
    """
    rows = []
    costs = [[run_cost(run) for run in arm.runs] for arm in arms]
    for arm, of_runs in zip(arms, costs, strict=True):
        n = len(of_runs)
        means = pd.DataFrame([c.metrics() for c in of_runs]).mean()
        by_stage: dict[str, float] = {}
        for cost in of_runs:
            for (stage, _), seconds in cost.seconds.items():
                by_stage[stage] = by_stage.get(stage, 0.0) + seconds / n
        devices = sorted({device for cost in of_runs for _, device in cost.seconds})
        rows.append(
            dict(arm.values)
            | {str(key).removeprefix("cost/"): float(value) for key, value in means.items()}
            | {f"{stage}_s": seconds for stage, seconds in by_stage.items()}
            | {"devices": ", ".join(devices), "runs": n}
        )
    table = pd.DataFrame(rows)
    methods = [arm.runs[0].run.experiment.method for arm in arms]
    for to in REFERENCES:
        for what, column in (("time", "training_hours"), ("usd", "usd"), ("extra", "extra_usd")):
            ratios = _ratios(methods, table[column].tolist(), to)
            if ratios:
                table[f"{what}_vs_{to}"] = ratios
    return table


def _ratios(methods: Sequence[str], values: Sequence[float], to: str) -> list[float]:
    """Each arm's value over the mean of those of the method `to`; none without it."""
    costs = {f"arm {i}": [value] for i, value in enumerate(values)}
    costs[to] = [value for method, value in zip(methods, values, strict=True) if method == to]
    found = relative({name: given for name, given in costs.items() if given}, to)
    return [found[f"arm {i}"] for i in range(len(values))] if found else []
