"""Stages beside the training that goes on: executed in the background, one after another in a process of its own."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from functools import partial
from threading import Lock

from flows.orchestration.stage_task import shown
from gtr_core.config import ExecutionConfig
from tasks.execution.slots import Reservation, Slots
from tasks.execution.stage_process import StageProcess
from tasks.store.stage import R, Stage
from tasks.store.store import StageStore

_QUEUE = 4  # stages that wait at most: more of them are computed by the caller


@contextmanager
def background_executor(execution: ExecutionConfig) -> Iterator["BackgroundExecutor | None"]:
    """A background executor where `execution.overlap` asks for one."""
    if not execution.overlap:
        yield None
        return
    with BackgroundExecutor(execution.retries) as executor:
        yield executor


class BackgroundExecutor:
    """Takes stages whose records nobody needs yet, as long as a slot is free for them.

    The slot is held while there is something to do. A GPU's process ends with that, because its model fills the device.
    """

    def __init__(self, retries: int) -> None:
        self._process = StageProcess(retries)
        self._thread = ThreadPoolExecutor(max_workers=1)
        self._change = Lock()
        self._queued = 0
        self._reserved: Reservation | None = None

    def __enter__(self) -> "BackgroundExecutor":
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)
        self._process.__exit__(kind, *rest)  # an ending run does not wait for what is computed
        self._thread.shutdown()

    def submit(self, store: StageStore, stage: Stage[R], slots: Slots) -> Future[R] | None:
        """The result to come of the stage, shown in Prefect as its task run.

        None: none of `slots` is free, or too many stages wait.
        """
        with self._change:
            if self._reserved is None:
                self._reserved = slots.reserve(stage.name)
            if self._reserved is None or self._queued > _QUEUE:
                return None
            self._queued += 1
            held = self._reserved.slots
        compute = partial(self._process, store, stage, held)
        return self._thread.submit(copy_context().run, self._compute, stage, compute)

    def _compute(self, stage: Stage[R], compute: Callable[[], R]) -> R:
        try:
            return shown(stage, compute)
        finally:
            with self._change:
                self._queued -= 1
                if not self._queued and self._reserved is not None:
                    if self._reserved.slots.devices:
                        self._process.end()
                    self._reserved.release()
                    self._reserved = None
