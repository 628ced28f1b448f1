"""`gtr compare`: finished runs as tables, pooled over seeds."""

import sys
from collections.abc import Sequence
from pathlib import Path

from flows.reporting.comparison import compare
from flows.reporting.selection import select
from flows.reporting.words import show, written
from flows.runs.run import workspace
from flows.say import say
from gtr_core.util.errors import UserError


def compare_runs(
    texts: Sequence[str],
    *,
    by: Sequence[str],
    metrics: Sequence[str],
    formats: Sequence[str],
    pairs: bool,
    finished_only: bool,
    out: Path | None,
) -> None:
    """Print the comparison of runs and sweeps, or write it to a file.

    Args:
        texts: runs and sweeps as named on the command line.
        by: axes of the rows; by default what the runs differ in.
        metrics: further figures of the test evaluation.
        formats: of `csv`, `json`, `markdown` at most one; without one the file's name decides, else tables.
        pairs: differences between arms in place of the arms, in csv and markdown.
        finished_only: leave out what has not finished.
        out: the file; None for the terminal.

    Raises:
        UserError: two formats; what `select` and `compare` refuse.
    """
    if len(formats) > 1:
        raise UserError(f"--{' and --'.join(formats)} are two formats: choose one.")
    by_suffix = {".csv": "csv", ".json": "json", ".md": "markdown"}
    how = formats[0] if formats else by_suffix.get(out.suffix, "markdown") if out else "table"
    found = compare(select(texts, workspace(), finished_only=finished_only), by, metrics)
    if how == "table":
        show(found)
        return
    text = written(found, how, pairs=pairs)
    for note in found.notes:
        say(note)
    if out is None:
        sys.stdout.write(text)
        return
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(text)
    print(out.absolute())
