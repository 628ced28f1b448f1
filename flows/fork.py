"""`gtr fork`: a run that shares another's first iterations, then goes its own way."""

import shlex
from collections.abc import Sequence
from typing import Any

from flows.experiment import plan
from flows.launch import launch
from flows.runs.run import Origin, Run, find_run, open_store, run_of, workspace
from gtr_core.config import NOT_DECIDING, ConfigError, Experiment
from gtr_core.config.loading import change, flatten, to_dict
from gtr_core.util.errors import UserError

# What an iteration hands to the next one is made for these: another value would need another past.
PAST = ("env", "model", "warm_start", "seed", "critic.kind", "critic.hidden", "rollout.envs", "rollout.turns")


def fork(
    name: str, at: int, overrides: Sequence[str], *, accept_code_change: bool = False, show: bool = True
) -> dict[str, Any]:
    """Run, or resume, the fork of a run after iteration `at`; its final record.

    Raises:
        UserError: no such run, an iteration that it has not finished, a change that would alter the past, no change.
    """
    parent = find_run(name, workspace())
    reached = _reached(parent, accept_code_change)
    if not 1 <= at <= reached:
        last = parent.experiment.iterations
        choices = f"--at takes 1 to {reached}" if reached else f"`gtr status {parent.key}` says why"
        raise UserError(f"The run {parent.key} has finished {reached} of its {last} iterations: {choices}.")
    experiment = change(parent.experiment, overrides)
    _check(parent, at, experiment)
    command = ["gtr", "fork", parent.key, "--at", str(at), *overrides]
    command += ["--accept-code-change"] if accept_code_change else []
    origin = Origin(history_until(parent, at), parent.key, accept_code_change)
    return launch(experiment, shlex.join(command), origin=origin, show=show)


def history_until(parent: Run, at: int) -> tuple[tuple[int, Experiment], ...]:
    """The configurations of iterations 1 to `at`, where the parent may be a fork itself."""
    return (*((until, e) for until, e in parent.origin.history if until < at), (at, parent.at(at)))


def _reached(parent: Run, accept_code_change: bool) -> int:
    """How many iterations of the run are there to be shared, under the code of today."""
    origin = Origin(parent.origin.history, parent.origin.parent, accept_code_change)
    run = run_of(parent.experiment, parent.workspace, origin)
    missing = [r for r in plan(run, open_store(run)).values() if r.state == "planned" and (r.training or r.model)]
    return (missing[0].iteration or 1) - 1 if missing else parent.experiment.iterations


def _check(parent: Run, at: int, experiment: Experiment) -> None:
    before, after = flatten(to_dict(parent.at(at))), flatten(to_dict(experiment))
    changed = sorted(key for key in before.keys() | after.keys() if before.get(key) != after.get(key))
    for key in changed:
        if any(key == past or key.startswith(f"{past}.") for past in PAST):
            raise ConfigError(
                f"A fork cannot change {key}: the {at} iterations that it shares were made with "
                f"{key}={before.get(key)}; start a run of its own with `gtr run`."
            )
    if experiment.iterations <= at:
        raise ConfigError(
            f"A fork at {at} of {experiment.iterations} iterations has none of its own: add iterations=N."
        )
    if all(key.startswith(tuple(f"{path}." for path in NOT_DECIDING)) for key in changed):
        raise ConfigError("A fork that changes nothing is the run itself: add key=value, for example method=turbo_sft.")
