"""What Prefect's pages show of a run besides its tasks: how far it is, where it is in MLflow, how arms compare."""

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from uuid import UUID

from httpx import HTTPError
from prefect.artifacts import (
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)

from flows.reporting.comparison import Comparison
from flows.reporting.words import heading, rows
from flows.runs.run import Run
from tasks.tracking.links import UI, run_link
from tasks.tracking.model_registry import slug
from tasks.tracking.tracker import Tracker

log = logging.getLogger(__name__)
EVERY_S = 30.0  # between updates of one bar: each is a request to the server


@contextmanager
def shown_if_possible() -> Iterator[None]:
    """What Prefect's pages show is no part of a run, which goes on when their server does not take it."""
    try:
        yield
    except HTTPError as error:
        log.warning("Prefect does not show this: %s", str(error).partition("\n")[0][:300])


class ProgressBar:
    """A progress artifact of a run, told at most twice a minute; call it inside of the run's flow."""

    def __init__(self, run: Run) -> None:
        self.key = f"progress-{_key(run.key)}"
        self.artifact: UUID | None = None
        self.told = 0.0

    def report(self, fraction: float) -> None:
        """Of the run's stages, how much is done; the end is always told."""
        now = time.monotonic()
        if now < self.told + EVERY_S and fraction < 1:
            return
        self.told = now
        with shown_if_possible():
            if self.artifact is None:
                created = create_progress_artifact(progress=100 * fraction, key=self.key)
                assert isinstance(created, UUID), "outside of async code the id itself comes back"
                self.artifact = created
            else:
                update_progress_artifact(self.artifact, progress=100 * fraction)


def link_to_mlflow(run: Run, tracker: Tracker) -> None:
    """A note with the run's page in MLflow; none while its server has not been reached."""
    if tracker.run_id and tracker.experiment_id:
        link = run_link(UI, tracker.experiment_id, tracker.run_id)
        text = f"[{run.name} in MLflow]({link}), served by `gtr ui`.\n\n`gtr status {run.key}`, `gtr report {run.key}`"
        with shown_if_possible():
            create_markdown_artifact(
                text, key=f"mlflow-{_key(run.key)}", description=f"Metrics and models of {run.key}"
            )


def table_of(name: str, found: Comparison) -> None:
    """The comparison as a table under the sweep's name."""
    head, cells = rows(found)
    table: list[dict[str, object]] = [dict(zip(head, row, strict=True)) for row in cells]
    notes: Sequence[str] = [heading(found), *found.notes]
    create_table_artifact(table, key=f"comparison-{_key(name)}", description="\n\n".join(notes))


def _key(name: str) -> str:
    """What Prefect takes: lower case, digits and dashes."""
    return slug(name).lower().replace("_", "-")
