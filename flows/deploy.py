"""An experiment as a Prefect deployment: the flow that a worker runs, and `gtr deploy`, which tells a pool of it."""

import os
import signal
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

from prefect import flow
from prefect.deployments.runner import RunnerDeployment
from prefect.runner.storage import LocalStorage

from flows.orchestration.processes import die_with_parent
from flows.orchestration.work_pools import ROOT, portable, prefect_api, read_pool
from flows.runs.run import join_sweep, open_run, workspace
from flows.say import say
from gtr_core.config.loading import load_experiment
from gtr_core.util.errors import UserError
from tasks.execution.environment import quiet_environment

ENTRYPOINT = "flows/deploy.py:experiment"


@flow(name="experiment", persist_result=False)
def experiment(config: str, overrides: list[str] | None = None, run: str = "", sweep: str = "", cell: str = "") -> None:
    """What `gtr run CONFIG key=value ...` does, on the machine of a worker.

    Args:
        config: an experiment's YAML, relative to the project or absolute.
        overrides: `key=value` changes of it.
        run: the key that the run must have here: it covers configuration and code. Empty: any.
        sweep: the sweep that the run is a cell of.
        cell: its label there.

    Raises:
        UserError: as `gtr run`; or this machine's code or configuration is not what was submitted.
    """
    if "PREFECT__FLOW_RUN_ID" in os.environ:  # a worker's child
        die_with_parent(signal.SIGTERM)
    quiet_environment(workspace())  # where the worker is Prefect's own command
    from flows.launch import launch

    home, changes = workspace(), overrides or []
    described = load_experiment(ROOT / config, changes)
    opened = open_run(described, home)
    if run and opened.key != run:
        raise UserError(
            f"{run} was submitted, but with the code and the configuration files of this worker it is {opened.key}: "
            "bring the worker to the version that submitted it, or submit again."
        )
    if sweep:
        join_sweep(opened, sweep, cell)
    launch(described, " ".join(["gtr", "run", config, *changes]), show=False)


def deploy(
    pool: str,
    config: Path | None,
    overrides: Sequence[str],
    *,
    name: str | None,
    cron: str | None,
    every_minutes: float | None,
) -> None:
    """Make the pool if it is not there, and a deployment in it.

    Without `config` that is the pool's own, `experiment/<pool>`, which sweeps are submitted to; with it, one that runs
    this experiment, on a schedule if one is given.

    Raises:
        UserError: a schedule without an experiment, a bad schedule, a pool that is not for processes, a server that is
            away or refuses the login.
    """
    if config is None and (cron or every_minutes or overrides or name):
        raise UserError("A name, a schedule and key=value changes need an experiment's YAML: `gtr deploy CONFIG ...`.")
    if cron and every_minutes:
        raise UserError("A schedule is either --cron or --every-minutes, not both.")
    parameters: dict[str, Any] = {}
    if config is not None:
        load_experiment(config, overrides)  # mistakes show here and not at midnight
        parameters = {"config": portable(config), "overrides": list(overrides)}
    try:
        found = RunnerDeployment.from_storage(  # at once, where no event loop runs
            LocalStorage(str(ROOT)),
            ENTRYPOINT,
            name=name or (config.stem if config else pool),
            cron=cron,
            interval=timedelta(minutes=every_minutes) if every_minutes else None,
            parameters=parameters,
            work_pool_name=pool,
        )
    except ValueError as error:
        raise UserError(
            f"--cron '{cron}' is not a schedule: five fields, for example '0 2 * * *' (at 2:00)."
        ) from error
    made = cast(RunnerDeployment, found)
    with prefect_api(workspace()) as client:
        read_pool(client, pool, make=True)
        made.apply()
    say(f"Deployed experiment/{made.name} to the work pool {pool}.")
    say(f"Start a worker with `gtr worker --pool {pool}`.")
