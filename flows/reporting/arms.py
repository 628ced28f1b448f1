"""The rows of a comparison: runs that differ in nothing but the seed, or in what the rows are not about."""

import difflib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from flows.reporting.finished import Finished
from flows.runs.run import deciding
from gtr_core.config.loading import flatten
from gtr_core.util.errors import UserError


@dataclass(frozen=True)
class Arm:
    """Runs of one row."""

    values: dict[str, Any]  # by axis
    runs: Sequence[Finished]

    @property
    def label(self) -> str:
        """`turbo_kl beta=0.5`."""
        words = [str(v) if k == "method" else f"{k.rpartition('.')[2]}={v}" for k, v in self.values.items()]
        return " ".join(words)

    def by_seed(self) -> dict[int, list[Finished]]:
        """The runs of each seed; more than one where the rows average over further settings."""
        return {s: [r for r in self.runs if r.seed == s] for s in sorted({r.seed for r in self.runs})}


def settings(run: Finished) -> dict[str, Any]:
    """The fields that decide the result, dotted; lists as JSON, so that they can be told apart and shown."""
    flat = flatten(deciding(run.run.experiment))
    flat.pop("name")
    return {k: json.dumps(v) if isinstance(v, list) else v for k, v in flat.items()}


def differing(runs: Sequence[Finished]) -> list[str]:
    """The fields in which the runs differ, the seed apart, `method` first."""
    told = [settings(run) for run in runs]
    fields = dict.fromkeys(key for each in told for key in each)
    found = [key for key in fields if key != "seed" and len({each.get(key) for each in told}) > 1]
    return sorted(found, key=lambda key: key != "method")


def arms(runs: Sequence[Finished], by: Sequence[str] = ()) -> tuple[list[Arm], list[str]]:
    """The rows, and the fields that they average over.

    Args:
        runs: finished ones.
        by: the axes of the rows; by default the fields in which the runs differ, `method` where they do not.

    Raises:
        UserError: an axis that is no field of the configuration; one run twice, but for its code or its history.
    """
    told = {run.name: settings(run) for run in runs}
    differ = differing(runs)
    axes = list(dict.fromkeys(by)) or differ or ["method"]
    for axis in axes:
        if not any(axis in each for each in told.values()):
            known = list(dict.fromkeys(key for each in told.values() for key in each))
            deeper = [key for key in known if key.rpartition(".")[2] == axis.rpartition(".")[2]]
            near = deeper or difflib.get_close_matches(axis, known, n=1, cutoff=0.3) or differ or ["method"]
            raise UserError(f"--by {axis} is no field of these runs: did you mean '{near[0]}'?")
    groups: dict[tuple[Any, ...], list[Finished]] = {}
    for run in runs:
        groups.setdefault(tuple(told[run.name].get(axis) for axis in axes), []).append(run)
    _refuse_twice(runs, told)
    averaged = [key for key in differ if key not in axes]
    return [Arm(dict(zip(axes, values, strict=True)), group) for values, group in groups.items()], averaged


def _refuse_twice(runs: Sequence[Finished], told: dict[str, dict[str, Any]]) -> None:
    seen: dict[str, Finished] = {}
    for run in runs:
        same = seen.setdefault(json.dumps(told[run.name], sort_keys=True), run)
        if same is not run:
            why = "one is a fork" if (run.run.origin.history or same.run.origin.history) else "their code differs"
            raise UserError(
                f"{same.name} and {run.name} have the same configuration and seed ({why}), and would count twice: "
                "name one of them."
            )
