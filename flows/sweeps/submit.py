"""`gtr sweep --submit`: a sweep's cells as deployment runs of a work pool; whoever submits does not wait for them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterIdempotencyKey
from prefect.client.schemas.objects import FlowRun, State
from prefect.client.schemas.responses import DeploymentResponse
from prefect.exceptions import ObjectNotFound
from prefect.states import AwaitingRetry
from rich.console import Console
from rich.table import Table

from flows.launch import open_tracker
from flows.orchestration.work_pools import portable, prefect_api, read_pool
from flows.runs.events import read_events
from flows.runs.run import Run, is_complete, join_sweep, open_run, workspace
from flows.runs.sweep_spec import Cell, cells, read_sweep
from flows.say import say
from gtr_core.util.errors import UserError
from gtr_core.util.locks import abandoned


def submit_sweep(path: Path, overrides: Sequence[str], pool: str) -> dict[str, Any]:
    """Submit every cell that is not complete, once: its run key is the flow run's idempotency key.

    A cell whose flow run failed, crashed or was cancelled is scheduled again, as the same flow run.

    Raises:
        UserError: a mistake in the sweep, no such pool or deployment, a server that is away or refuses the login.
    """
    home, sweep = workspace(), read_sweep(path)
    found = cells(sweep, home, overrides)
    outcomes = []
    with prefect_api(home) as client:
        deployment = _deployment(client, pool)
        known = _known(client, found)
        for number, cell in enumerate(found):
            try:
                state = _submit(client, deployment, cell, sweep.name, known.get(cell.run.key))
            except httpx.TransportError as error:
                raise UserError(
                    f"The Prefect server went away after {number} of {len(found)} cells: the same command submits the "
                    "rest, and no cell twice."
                ) from error
            outcomes.append({"cell": cell.label, "run": cell.run.key, "state": state})
    _print(sweep.name, pool, outcomes)
    return {"sweep": sweep.name, "pool": pool, "cells": outcomes}


def _submit(
    client: SyncPrefectClient, deployment: DeploymentResponse, cell: Cell, sweep: str, known: FlowRun | None
) -> str:
    """`complete`, `submitted`, `submitted again (was Failed)`, or how its flow run stands, say `Running`."""
    open_run(cell.run.experiment, cell.run.workspace)
    join_sweep(cell.run, sweep, cell.label)
    if is_complete(cell.run):
        open_tracker(cell.run, running=False)
        return "complete"
    if known is None or known.state is None:
        client.create_flow_run_from_deployment(
            deployment.id,
            name=f"{sweep}: {cell.label}",
            parameters={
                "config": portable(cell.config),
                "overrides": list(cell.overrides),
                "run": cell.run.key,
                "sweep": sweep,
                "cell": cell.label,
            },
            tags=[f"sweep:{sweep}"],
            idempotency_key=cell.run.key,
        )
        return "submitted"
    if not known.state.is_final() and not _is_dead(known.state, cell.run):
        return known.state.name or known.state.type.value
    client.set_flow_run_state(known.id, AwaitingRetry(), force=True)
    return f"submitted again (was {known.state.name})"


def _is_dead(state: State, run: Run) -> bool:
    """Whether a flow run that Prefect takes to be running has begun its work and no process holds the run any more.

    Prefect does not hear of a flow run that is killed together with its worker, and shows it as `Running` for ever.
    """
    begun = max((event["time"] for event in read_events(run.directory) if event["event"] == "plan"), default=0.0)
    lock = run.directory / "run.lock"
    with abandoned(lock) as dead:
        held = lock.exists() and not dead
    return state.is_running() and begun > state.timestamp.timestamp() and not held


def _deployment(client: SyncPrefectClient, pool: str) -> DeploymentResponse:
    found = read_pool(client, pool, any_type=True)
    try:
        return client.read_deployment_by_name(f"experiment/{pool}")
    except ObjectNotFound as error:
        maker = f"gtr deploy --pool {pool}" if found.type == "process" else f"prefect deploy --name {pool}"
        raise UserError(f"The work pool '{pool}' has no deployment experiment/{pool}: `{maker}` makes it.") from error


def _known(client: SyncPrefectClient, found: Sequence[Cell]) -> dict[str, FlowRun]:
    """The flow runs that were submitted before, by run key."""
    keys = FlowRunFilterIdempotencyKey(any_=[cell.run.key for cell in found])
    runs = client.read_flow_runs(flow_run_filter=FlowRunFilter(idempotency_key=keys), limit=200)
    return {str(run.idempotency_key): run for run in runs}


def _print(name: str, pool: str, outcomes: Sequence[dict[str, str]]) -> None:
    table = Table("cell", "state", "run", title=f"Sweep {name} in the work pool {pool}")
    for outcome in outcomes:
        table.add_row(outcome["cell"], outcome["state"], outcome["run"])
    console = Console()
    console.print(table)
    say(f"`gtr worker --pool {pool}` runs them; `gtr ui` shows how they stand.", result=True)
