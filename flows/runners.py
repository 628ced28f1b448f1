"""Calls side by side by Prefect's task runners: threads here, or the processes of a Dask or Ray cluster."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, Protocol

from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.context import FlowRunContext, TaskRunContext
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner

from gtr_core.config import ExecutionConfig
from gtr_core.errors import UserError
from tasks.code_version import code_version
from tasks.record import Part, StageRecord


class SideBySide(Protocol):
    """Has stages computed at the same time."""

    def __call__(self, name: str, parts: Sequence[Part]) -> list[StageRecord]:
        """The records, in order; the parts show as the task runs `<name>-part-1`, `<name>-part-2`, ..."""


@contextmanager
def side_by_side(execution: ExecutionConfig) -> Iterator[SideBySide]:
    """Computes stages as `execution` says: what they are does not depend on it.

    A cluster of this machine is started when there is something to compute, and ends with the block.

    Raises:
        UserError: from a call: the runner's extra is not installed, no cluster answers, a worker has other code.
    """
    with ExitStack() as stack:
        started: list[TaskRunner[Any]] = []

        def compute(name: str, parts: Sequence[Part]) -> list[StageRecord]:
            if not started:
                started.append(stack.enter_context(task_runner(execution)))
            with _portable_context():
                futures = [
                    started[0].submit(_shown(f"{name}-part-{number}"), {"part": part, "code": _code_of(part)})
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
    kind, workers, address = execution.task_runner, execution.workers, execution.cluster
    runner: TaskRunner[Any] = ThreadPoolTaskRunner(max_workers=workers)
    try:
        if kind == "dask":
            from prefect_dask import DaskTaskRunner

            own = {"n_workers": workers, "threads_per_worker": 1, "memory_limit": 0, "dashboard_address": None}
            runner = DaskTaskRunner(address=address) if address else DaskTaskRunner(cluster_kwargs=own)
        if kind == "ray":
            from prefect_ray import RayTaskRunner

            own = {"num_cpus": workers, "include_dashboard": False}
            runner = RayTaskRunner(address=address) if address else RayTaskRunner(init_kwargs=own)
    except ImportError as error:
        raise UserError(
            f"execution.task_runner={kind} needs the extra '{kind}': pip install 'gtr-turbo[{kind}]'."
        ) from error
    return runner


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


def _shown(name: str) -> Any:
    return task(name=name.partition("-")[0], task_run_name=name, persist_result=False, cache_policy=NO_CACHE)(_work)


def _work(part: Part, code: str) -> dict[str, Any]:
    """What a worker does."""
    if _code_of(part) != code:
        raise UserError(
            f"a worker has another version of {part.func.__module__} than the run: bring it to the run's version."
        )
    return part().to_json()


def _code_of(part: Part) -> str:
    return code_version(part.func.__module__)
