"""Work that goes on beside whoever calls for it."""

from collections.abc import Callable
from threading import Lock, Thread


class Courier:
    """Does `work` in a thread when called, and once more if it was called meanwhile; the process may end amid it."""

    def __init__(self, work: Callable[[], object]) -> None:
        self._work = work
        self._change = Lock()
        self._thread: Thread | None = None  # None: there is nothing to do
        self._again = False
        self._error: Exception | None = None

    def call(self) -> None:
        """Have the work done soon; raises what it raised since the last call."""
        self._raise()
        with self._change:
            self._again = True
            if self._thread is None:
                self._thread = Thread(target=self._serve, daemon=True)
                self._thread.start()

    def wait(self, seconds: float | None = None) -> None:
        """Wait until the work is done, or for so many seconds; raises what it raised since the last call."""
        thread = self._thread
        if thread is not None:
            thread.join(seconds)
        self._raise()

    def _serve(self) -> None:
        while True:
            with self._change:
                if not self._again:
                    self._thread = None
                    return
                self._again = False
            try:
                self._work()
            except Exception as error:  # noqa: BLE001 - raised in the thread that calls next
                self._error = error

    def _raise(self) -> None:
        error, self._error = self._error, None
        if error is not None:
            raise error
