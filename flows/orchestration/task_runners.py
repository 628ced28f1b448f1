"""Work side by side by Prefect's task runners: threads here, or the processes of a Dask or Ray cluster."""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, Protocol

from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.context import FlowRunContext, TaskRunContext
from prefect.futures import PrefectFuture
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner

from gtr_core.config import ExecutionConfig
from gtr_core.util.errors import UserError
from tasks.store.fingerprint import code_version
from tasks.store.record import Part, StageRecord


class Submit(Protocol):
    """Hands a call to the next free worker."""

    def __call__(self, name: str, function: Callable[..., Any], **arguments: Any) -> PrefectFuture[Any]:
        """The future of `function(**arguments)`, which shows in Prefect as the task run `name`."""


class SideBySide(Protocol):
    """Has stages computed at the same time."""

    def __call__(self, name: str, parts: Sequence[Part]) -> list[StageRecord]:
        """The records, in order; the parts show as the task runs `<name>-part-1`, `<name>-part-2`, ..."""


@contextmanager
def workers(execution: ExecutionConfig) -> Iterator[Submit]:
    """The workers that `execution` names; those of this machine start with the first call and end with the block.

    Raises:
        UserError: the runner's extra is not installed; from a call, no cluster answers at its address.
    """
    runner = task_runner(execution)
    with ExitStack() as stack:
        started = False

        def submit(name: str, function: Callable[..., Any], **arguments: Any) -> PrefectFuture[Any]:
            nonlocal started
            if not started:
                _start(runner, execution, stack)
                started = True
            shown: Any = task(
                name=name.partition("-")[0], task_run_name=name, persist_result=False, cache_policy=NO_CACHE
            )(function)
            with _portable_context():
                future: PrefectFuture[Any] = runner.submit(shown, arguments)
            return future

        yield submit


@contextmanager
def side_by_side(execution: ExecutionConfig) -> Iterator[SideBySide]:
    """Computes stages by the `workers` of `execution`; what the stages are does not depend on them.

    Raises:
        UserError: as `workers`; from a call, a worker has other code than the run.
    """
    with workers(execution) as submit:

        def compute(name: str, parts: Sequence[Part]) -> list[StageRecord]:
            futures = [
                submit(f"{name}-part-{number}", _work, part=part, code=_code_of(part))
                for number, part in enumerate(parts, 1)
            ]
            for future in futures:
                future.wait()
            return [StageRecord.from_json(future.result()) for future in futures]

        yield compute


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


def _work(part: Part, code: str) -> dict[str, Any]:
    """What a worker does."""
    if _code_of(part) != code:
        raise UserError(
            f"A worker has another version of {part.func.__module__} than the run: bring it to the run's version."
        )
    return part().to_json()


def _code_of(part: Part) -> str:
    return code_version(part.func.__module__)
