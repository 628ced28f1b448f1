"""Processes that must not outlive the one that started them, not even when that one is killed."""

import ctypes
import os
import signal
import threading
import time

PARENT = "GTR_PARENT_PID"  # set for a child process that is to end with its parent
GRACE_S = 8.0  # to end in, once told to; Prefect would ask its server, gone as well, for half a minute
_PR_SET_PDEATHSIG = 1


def die_with_parent(sent: signal.Signals = signal.SIGKILL) -> None:
    """Have the kernel send this process a signal when its parent ends, in whatever way (Linux)."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, sent)


def obey_parent() -> None:
    """End with the process that set `GTR_PARENT_PID`, if one did: at once if it is gone already."""
    parent = os.environ.pop(PARENT, None)
    if parent is None:
        return
    threading.Thread(target=_outlive_by_grace, args=(int(parent),), daemon=True).start()
    die_with_parent(signal.SIGTERM)
    if os.getppid() != int(parent):
        os.kill(os.getpid(), signal.SIGTERM)


def _outlive_by_grace(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    time.sleep(GRACE_S)
    os.kill(os.getpid(), signal.SIGKILL)  # what was not finished was not published
