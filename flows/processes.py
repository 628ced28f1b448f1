"""Processes that must not outlive the one that started them, not even when that one is killed."""

import ctypes
import os
import signal

PARENT = "GTR_PARENT_PID"  # set for a child process that is to end with its parent
_PR_SET_PDEATHSIG = 1


def die_with_parent(sent: signal.Signals = signal.SIGKILL) -> None:
    """Have the kernel send this process a signal when its parent ends, in whatever way (Linux)."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, sent)


def obey_parent() -> None:
    """End with the process that set `GTR_PARENT_PID`, if one did: at once if it is gone already."""
    parent = os.environ.pop(PARENT, None)
    if parent is None:
        return
    die_with_parent(signal.SIGTERM)
    if os.getppid() != int(parent):
        os.kill(os.getpid(), signal.SIGTERM)
