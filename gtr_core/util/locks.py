"""Locks that die with their holder.

Every lock is an `flock`: the kernel frees it when its process ends, however it ends. Descriptors are not inherited by
programs that a process starts, and a forked child closes its copies, so a lock lives exactly as long as its holder.
"""

import fcntl
import json
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path

_held: set[int] = set()  # descriptors of the locks that this process holds


def _close_in_child() -> None:
    for descriptor in _held:
        os.close(descriptor)
    _held.clear()


os.register_at_fork(after_in_child=_close_in_child)


@contextmanager
def exclusive(path: Path, on_wait: Callable[[str], None] | None = None) -> Iterator[None]:
    """Hold the lock file `path`, waiting for its holder, process or thread, to let go.

    `on_wait` is called once, with words that name the holder, before waiting; it may raise to refuse instead. The
    lock is not re-entrant. The file is removed on leaving and means nothing by itself: the kernel holds the lock.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = _acquire(path, on_wait)
    try:
        _sign(descriptor, "")
        yield
    finally:
        if descriptor in _held:  # not in a child forked inside the block: the lock is its parent's
            path.unlink(missing_ok=True)
        _release(descriptor)


@contextmanager
def shared(path: Path) -> Iterator[None]:
    """Hold the lock file `path` together with others who share it, once nobody holds it alone; the file stays."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = _open(path)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        yield
    finally:
        _release(descriptor)


def acquire(path: Path, purpose: str) -> int | None:
    """Hold the lock file `path` if nobody does, until `release` or the end of this process; the file stays.

    What it gives is the hold; None says that another has it. `purpose` tells others what it is held for.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = _open(path)
    if not _try_lock(descriptor):
        _release(descriptor)
        return None
    _sign(descriptor, purpose)
    return descriptor


def release(hold: int) -> None:
    """Let go of what `acquire` gave."""
    _release(hold)


def holder(path: Path) -> str:
    """Words that name who has written into the lock file last: process, host, since when, and what for."""
    try:
        facts = json.loads(path.read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return "another process"  # it has not yet written, or has just let go
    purpose = f" for {facts['purpose']}" if facts.get("purpose") else ""
    return f"process {facts['pid']} on {facts['host']}{purpose}, since {facts['since']}"


@contextmanager
def abandoned(path: Path) -> Iterator[bool]:
    """Whether the holder of the lock file died without removing it; if so, hold it for the block, then remove it."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        yield False
        return
    _held.add(descriptor)
    try:
        dead = _try_lock(descriptor) and _is_current(path, descriptor)
        yield dead
        if dead:
            path.unlink()
    finally:
        _release(descriptor)


def _acquire(path: Path, on_wait: Callable[[str], None] | None) -> int:
    told = on_wait is None
    while True:
        descriptor = _open(path)
        with ExitStack() as on_failure:
            on_failure.callback(_release, descriptor)
            if not _try_lock(descriptor):
                if on_wait is not None and not told:
                    told = True
                    on_wait(holder(path))
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            on_failure.pop_all()
        if _is_current(path, descriptor):
            return descriptor
        _release(descriptor)  # its last holder removed the file while this one waited for it


def _sign(descriptor: int, purpose: str) -> None:
    since = datetime.now(UTC).isoformat(timespec="seconds")
    facts = {"pid": os.getpid(), "host": socket.gethostname(), "since": since, "purpose": purpose}
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, json.dumps(facts).encode(), 0)


def _open(path: Path) -> int:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    _held.add(descriptor)
    return descriptor


def _release(descriptor: int) -> None:
    if descriptor in _held:
        fcntl.flock(descriptor, fcntl.LOCK_UN)  # for any copy as well that a fork in another thread has just made
        _held.remove(descriptor)
        os.close(descriptor)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_current(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
