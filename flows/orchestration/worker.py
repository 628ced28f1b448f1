"""`gtr worker`: Prefect's worker for a pool, with this workspace, until Ctrl-C."""

import signal
import subprocess
import sys

from flows.orchestration.processes import die_with_parent
from flows.orchestration.work_pools import prefect_api, read_pool
from flows.runs.run import workspace
from flows.say import say


def work(pool: str, limit: int) -> int:
    """Run the worker, `limit` experiments at once; its exit code. It ends with this process.

    Raises:
        UserError: no such pool, a server that is away or refuses the login.
    """
    with prefect_api(workspace()) as client:
        read_pool(client, pool)
        say(f"Working for the pool {pool}, {limit} at once; Ctrl-C ends it.")
        command = [sys.executable, "-m", "prefect", "worker", "start", "--pool", pool, "--limit", str(limit)]
        worker = subprocess.Popen([*command, "--type", "process"], preexec_fn=_begin)  # noqa: PLW1509 - one thread
        signal.signal(signal.SIGTERM, lambda *_: worker.terminate())
        try:
            return worker.wait()
        except KeyboardInterrupt:  # the terminal has told the worker as well
            return worker.wait()


def _begin() -> None:
    """End with the parent; and hear SIGINT, with which the worker ends itself and which a background job ignores."""
    die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_DFL)
