"""Stages in a process beside the run's own, where an OOM-kill or a segfault costs one stage and not the run.

The process is started at the first stage that has to be computed, keeps its model from stage to stage, and ends with
the run, however that ends.
"""

import faulthandler
import logging
import multiprocessing
import os
import signal
import sys
import threading
import traceback
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.reduction import ForkingPickler
from typing import Any, cast

from gtr_core.config import ExecutionConfig
from gtr_core.util.errors import UserError
from tasks.execution.compute import find_or_compute
from tasks.execution.slots import UNLIMITED, Slots
from tasks.store.record import StageRecord
from tasks.store.stage import R, Stage
from tasks.store.store import StageStore

log = logging.getLogger(__name__)

_GRACE_S = 4.0  # for a stage to end in once told to
_LINES = 6  # of a dead process's last words
_FATAL = "Fatal Python error"  # how faulthandler begins; the lines that tell most come right after


class StageProcessError(UserError):
    """The process of a stage died, or ran out of memory, in every try."""


Compute = Callable[[StageStore, Stage[Any], Slots], StageRecord]  # has a stage found or computed, somewhere


@contextmanager
def stages_run(execution: ExecutionConfig) -> Iterator[Compute]:
    """Where stages are computed, by `execution.isolation`: here, or in one process beside this one."""
    if execution.isolation == "inline":
        yield find_or_compute
        return
    with StageProcess(execution.retries) as process:
        yield process


class StageProcess:
    """Computes stages in one other process, and in a new one after that died.

    Tried again, `retries` times, is a stage whose process died or that ran out of memory. No other error is: a stage is
    a pure function, and would fail in the same way. An error crosses with its class and text; its traceback is a note.
    """

    def __init__(self, retries: int = 1) -> None:
        self.retries = retries
        self._worker: _Worker | None = None
        self._closed = False
        self._change = threading.Lock()  # another thread may end the process that one waits for

    def __enter__(self) -> "StageProcess":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._closed = True
        self.end(at_once=kind is not None)

    def __call__(self, store: StageStore, stage: Stage[R], slots: Slots = UNLIMITED) -> R:
        """`find_or_compute(store, stage, slots)`; what is in the store already starts no process.

        Raises:
            StageProcessError: the process died or ran out of memory, in the last try as well.
        """
        found = store.find(stage)
        if found is not None:
            return found
        for left in range(self.retries, -1, -1):
            exit_reason = self._request(store, stage, slots)
            if isinstance(exit_reason, StageRecord):
                return cast(R, exit_reason)
            if left:
                log.warning("%s: %s; trying it again in a new process", stage.name, exit_reason)
        tries = f"in each of {self.retries + 1} tries" if self.retries else "in the only try"
        raise StageProcessError(f"{stage.name}, {tries}: {exit_reason}; finished stages are kept.")

    def _request(self, *call: Any) -> StageRecord | str:
        """The record, or what became of the process in words."""
        worker = self._started()
        try:
            worker.pipe.send(call)
            answer = worker.pipe.recv()
        except (EOFError, OSError):
            exit_reason = worker.exit_reason()
            self.end(at_once=True)
            return exit_reason
        if isinstance(answer, StageRecord):
            return answer
        if not answer.out_of_memory:
            raise answer.error
        self.end(at_once=True)
        return f"its process ran out of memory ({answer.error})"

    def _started(self) -> "_Worker":
        with self._change:
            if self._closed:
                raise StageProcessError("its process was ended with the run")
            if self._worker is None:
                self._worker = _Worker()
            return self._worker

    def end(self, *, at_once: bool = False) -> None:
        """End the process, if there is one; the next stage starts another."""
        with self._change:
            if self._worker is not None:
                self._worker.end(at_once=at_once)
                self._worker = None


@dataclass(frozen=True)
class _Failure:
    """What a stage raised."""

    error: Exception
    out_of_memory: bool


class _Worker:
    """The other process: a pipe for calls and answers, and its stderr, passed on and remembered."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        words, stderr = context.Pipe(duplex=False)
        self.process = context.Process(target=_serve, args=(theirs, stderr))
        self.process.start()
        theirs.close()
        stderr.close()
        self.last: deque[str] = deque(maxlen=200)
        self._listener = threading.Thread(target=self._listen, args=(words,), daemon=True)
        self._listener.start()

    def exit_reason(self) -> str:
        """How the process ended, and its last words."""
        self.process.join()
        self._listener.join(timeout=2)
        lines = [line.rstrip() for line in self.last if line.strip()]
        fatal = next((n for n, line in enumerate(lines) if line.startswith(_FATAL)), max(0, len(lines) - _LINES))
        said = " | ".join(lines[fatal : fatal + _LINES]) or "nothing"
        return f"its process {_exit_words(self.process.exitcode)}, its last lines: {said}"

    def end(self, *, at_once: bool) -> None:
        """End the process: when it is idle, or at once and with what it is at cleaned up."""
        self.pipe.close()
        if at_once:
            self.process.terminate()
        self.process.join(_GRACE_S)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()

    def _listen(self, words: Connection) -> None:
        with os.fdopen(os.dup(words.fileno()), errors="replace") as lines:
            words.close()
            for line in lines:
                self.last.append(line)
                sys.stderr.write(line)


def _exit_words(code: int | None) -> str:
    if code is None or code >= 0:
        return f"exited with {code}"
    name = signal.Signals(-code).name
    return f"was ended by {name}" + (" (the kernel's, when memory runs out)" if name == "SIGKILL" else "")


def _serve(pipe: Connection, stderr: Connection) -> None:
    """The other process: answers calls until the pipe is closed, or SIGTERM."""
    os.dup2(stderr.fileno(), sys.stderr.fileno())
    stderr.close()
    faulthandler.enable(all_threads=False)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s", stream=sys.stderr)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal tells all its processes: the run decides
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with suppress(EOFError, BrokenPipeError, KeyboardInterrupt):
        while True:
            pipe.send(_answer(*pipe.recv()))
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # it is ending


def _answer(store: StageStore, stage: Stage[Any], slots: Slots) -> StageRecord | _Failure:
    try:
        found: StageRecord = find_or_compute(store, stage, slots)
    except Exception as error:  # noqa: BLE001 - raised in the process that asked
        if not isinstance(error, UserError):
            error.add_note(f"In the stage's process:\n{traceback.format_exc()}")
        return _Failure(_portable(error), _is_out_of_memory(error))
    return found


def _is_out_of_memory(error: Exception) -> bool:
    import torch

    return isinstance(error, MemoryError | torch.OutOfMemoryError)


def _portable(error: Exception) -> Exception:
    """The error, or its class and text where it cannot be sent."""
    try:
        ForkingPickler.loads(ForkingPickler.dumps(error))
    except Exception:  # noqa: BLE001 - whatever its reduction raises
        plain = RuntimeError(f"{type(error).__name__}: {error}")
        plain.add_note("\n".join(getattr(error, "__notes__", [])))
        return plain
    return error


def _end_with_parent() -> None:
    """What a killed process was at was not published, so it needs no goodbye."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os.kill(os.getpid(), signal.SIGKILL)
