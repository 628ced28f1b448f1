"""`gtr sync`: deliver to MLflow what is still owed."""

from flows.runs.run import workspace
from flows.say import say
from gtr_core.util.errors import UserError
from tasks.tracking.tracker import Tracker


def deliver_all() -> None:
    """Deliver every run's outbox.

    Raises:
        UserError: the server is still away; says how much is owed.
    """
    owed, runs = 0, 0
    for path in sorted((workspace() / "runs").glob("*/run.json")):
        owed += Tracker.reopen(workspace(), path.parent.name).sync(now=True)
        runs += 1
    if owed:
        raise UserError(f"MLflow is still away: {owed} messages are kept; run `gtr sync` again when it answers.")
    say(f"MLflow has everything of {runs} runs.", result=True)
