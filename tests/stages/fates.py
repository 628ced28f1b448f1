"""Stages with fates of their own, and a run that is to be killed: `python fates.py STORE`."""

import ctypes
import os
import signal
import sys
import time
from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path

from flows.runs.events import Journal
from gtr_core.config import ConfigError
from tasks.execution.stage_process import StageProcess
from tasks.store.record import StageRecord
from tasks.store.stage import Stage
from tasks.store.store import StageStore


class Fate(StageRecord):
    """What comes of it."""

    kind = "fate"


class Awkward(Exception):  # noqa: N818 - it is one that cannot be sent
    """Can be sent, and not be made again from what was sent."""

    def __init__(self, first: str, second: str) -> None:
        super().__init__(f"{first} and {second}")


def lives(seed: int) -> Stage[Fate]:
    """Tells its process and how often it computed there."""
    return _stage(seed, partial(_live, seed))


def _live(seed: int, directory: Path) -> dict[str, float]:
    (directory / "result").write_text(f"{seed}")
    lives.calls = getattr(lives, "calls", 0) + 1  # type: ignore[attr-defined]
    return {"pid": os.getpid(), "call": lives.calls}  # type: ignore[attr-defined]


def dies(store: StageStore, how: str, times: int) -> Stage[Fate]:
    """Ends its own process the first `times` times, half a file written."""
    store.root.mkdir(exist_ok=True)
    return _stage(0, partial(_die, store.root, how, times))


def _die(root: Path, how: str, times: int, directory: Path) -> dict[str, float]:
    (directory / "half").write_text("x")
    tried = _try(root)
    if tried <= times:
        print(f"last words {tried}", file=sys.stderr, flush=True)
        _end(how)
    return {"tries": tried}


def fails(store: StageStore, kind: str) -> Stage[Fate]:
    """Raises."""
    store.root.mkdir(exist_ok=True)
    return _stage(0, partial(_fail, store.root, kind))


def _fail(root: Path, kind: str, directory: Path) -> dict[str, float]:
    from gtr_core.agent.finite import NonFiniteError  # and with it torch, which the other fates need not wait for

    errors: dict[str, Exception] = {
        "ConfigError": ConfigError("model.lora.rank=0 is out of range: it must be at least 1."),
        "AssertionError": AssertionError("a bug"),
        "NonFiniteError": NonFiniteError("logits hold nan: the stage stops."),
        "ValueError": ValueError("a bug of another kind"),
        "Awkward": Awkward("this", "that"),
        "MemoryError": MemoryError("no room for 80 GB"),
    }
    _try(root)
    raise errors[kind]


def _try(root: Path) -> int:
    with (root / "tries").open("a") as tries:
        tries.write("x")
    return (root / "tries").stat().st_size


def tells(report: Callable[[int, int], None]) -> Stage[Fate]:
    """Reports progress."""
    return _stage(0, partial(_tell, report))


def _tell(report: Callable[[int, int], None], directory: Path) -> dict[str, float]:
    for step in range(0, 30, 10):
        report(step, 30)
    return {}


def sleeps(store: StageStore) -> Stage[Fate]:
    """Takes a minute, and says which process does."""
    return _stage(0, partial(_sleep, store.root))


def _sleep(root: Path, directory: Path) -> dict[str, float]:
    (directory / "half").write_text("x")
    (root / "pid.new").write_text(f"{os.getpid()}")
    (root / "pid.new").rename(root / "pid")
    time.sleep(60)
    return {}


def _end(how: str) -> None:
    if how == "SIGSEGV":
        ctypes.string_at(0)
    if how == "exit":
        os._exit(3)
    os.kill(os.getpid(), signal.Signals[how])
    time.sleep(10)


def _stage(seed: int, compute: Callable[[Path], dict[str, float]]) -> Stage[Fate]:
    return Stage(Fate, compute, inputs={}, config={}, seed=seed, iteration=3)


def main() -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    store = StageStore(Path(sys.argv[1]))
    with StageProcess() as process:
        process(store, tells(Journal(store.root.parent / "journal").step))
        other = StageStore(store.root / "other")
        process(other, sleeps(other))


if __name__ == "__main__":
    import_module("tests.stages.fates").main()  # under its own name, which another process can find
