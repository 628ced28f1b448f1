"""A stage as Prefect sees it: a task run with a name and a state, and no data."""

from collections.abc import Callable
from typing import Any, cast

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.states import Completed

from tasks.store.stage import R, Stage


@task(name="stage", persist_result=False, cache_policy=NO_CACHE)
def stage_task(compute: Callable[[], Any]) -> Any:
    """Compute a stage; a reused one ends as `Completed(name="Reused")`, and the message says where it lies."""
    record = compute()
    name = "Reused" if record.state == "reused" else "Completed"
    return Completed(name=name, message=f"{record.stage}/{record.key}", data=record)


def shown(stage: Stage[R], compute: Callable[[], R]) -> R:
    """`compute()`, as the task run of the stage's name in the flow run that calls; raises what it raises.

    The record is handed over in memory: Prefect stores no result and no parameter.
    """
    named = stage_task.with_options(name=stage.kind, task_run_name=stage.name)
    state: Any = named(compute, return_state=True)
    return cast(R, state.result())
