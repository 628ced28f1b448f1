"""Work side by side by Prefect's task runners: threads here, or the processes of a Dask or Ray cluster."""

import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any, Protocol

from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.context import FlowRunContext, TaskRunContext
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner

from gtr_core.config import ExecutionConfig
from gtr_core.util.errors import UserError
from tasks.execution.compute import find_or_compute
from tasks.execution.slots import Slots
from tasks.store.fingerprint import code_version
from tasks.store.record import StageRecord
from tasks.store.stage import Stage
from tasks.store.store import StageStore


class SideBySide(Protocol):
    """Has the parts of a stage computed at the same time."""

    def __call__(self, store: StageStore, stage: Stage[Any], slots: Slots) -> None:
        """Find or compute the stage's parts; they show as the task runs `<name>-part-1`, `<name>-part-2`, ..."""
        ...


@contextmanager
def side_by_side(execution: ExecutionConfig) -> Iterator[SideBySide]:
    """Computes parts by the workers that `execution` names; what the parts are does not depend on them.

    Workers of this machine start with the first call and end with the block.

    Raises:
        UserError: the runner's extra is not installed; from a call, no cluster answers at its address, or a worker has
            other code than the run.
    """
    runner = task_runner(execution)
    with ExitStack() as stack:
        started = False

        def compute(store: StageStore, stage: Stage[Any], slots: Slots) -> None:
            nonlocal started
            if not started:
                _start(runner, execution, stack)
                started = True
            with _portable_context():
                futures = [
                    runner.submit(
                        compute_part.with_options(name=stage.kind, task_run_name=f"{stage.name}-part-{number}"),
                        {
                            "compute": partial(find_or_compute, store, part, slots),
                            "modules": part.modules,
                            "code": code_version(*part.modules),
                        },
                    )
                    for number, part in enumerate(stage.parts, 1)
                ]
            for future in futures:
                future.wait()
            for future in futures:
                future.result()

        yield compute


@task(persist_result=False, cache_policy=NO_CACHE)
def compute_part(compute: Callable[[], StageRecord], modules: tuple[str, ...], code: str) -> None:
    """What a worker does: find or compute a part, by the code of the run."""
    if code_version(*modules) != code:
        raise UserError(f"A worker has another version of {modules[0]} than the run: bring it to the run's version.")
    compute()


def task_runner(execution: ExecutionConfig) -> TaskRunner[Any]:
    """Prefect's task runner of that name, not yet started.

    Raises:
        UserError: its extra is not installed.
    """
    kind, count, address = execution.task_runner, execution.workers, execution.cluster
    runner: TaskRunner[Any] = ThreadPoolTaskRunner(max_workers=count)
    try:
        if kind == "dask":
            from prefect_dask import DaskTaskRunner

            logging.getLogger("distributed").setLevel(logging.ERROR)  # it tells of every connection
            # Without a limit of its own, at which Dask would kill a worker amid a stage, and without a web page.
            own: dict[str, Any] = {"n_workers": count, "threads_per_worker": 1, "memory_limit": 0}
            own |= {"scheduler_kwargs": {"dashboard": False}, "dashboard_address": "127.0.0.1:0"}
            own |= {"worker_dashboard_address": None}
            runner = DaskTaskRunner(address=address) if address else DaskTaskRunner(cluster_kwargs=own)
        if kind == "ray":
            from prefect_ray import RayTaskRunner

            own = {"num_cpus": count, "include_dashboard": False, "logging_level": logging.ERROR}
            own |= {"_node_ip_address": "127.0.0.1"}  # nothing of it is to be reached from other machines
            runner = RayTaskRunner(address=address) if address else RayTaskRunner(init_kwargs=own)
    except ImportError as error:
        raise UserError(
            f"execution.task_runner={kind} needs the extra '{kind}': pip install 'gtr-turbo[{kind}]'."
        ) from error
    return runner


def _start(runner: TaskRunner[Any], execution: ExecutionConfig, stack: ExitStack) -> None:
    try:
        stack.enter_context(runner)
        getattr(runner, "client", None)  # Dask's connects when it is first asked for
    except OSError as error:
        starter = {"dask": "dask scheduler", "ray": "ray start --head"}.get(execution.task_runner)
        if not execution.cluster:
            raise
        raise UserError(
            f"No cluster answers at execution.cluster={execution.cluster}: start one with `{starter}`, or leave the "
            "address out to use this machine."
        ) from error


@contextmanager
def _portable_context() -> Iterator[None]:
    """The flow run and the task run that submit, without their functions, which hold what cannot be sent."""
    with ExitStack() as stack:
        if (of_flow := FlowRunContext.get()) is not None:
            stack.enter_context(of_flow.model_copy(update={"flow": flow(_stand_in), "parameters": {}}))
        if (of_task := TaskRunContext.get()) is not None:
            stack.enter_context(of_task.model_copy(update={"task": task(_stand_in), "parameters": {}}))
        yield


def _stand_in() -> None:
    """What workers are told that the flow's and the task's functions are; they are never called there."""
