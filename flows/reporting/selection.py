"""Which runs `RUN|SWEEP...` on the command line means, and whether they can stand side by side."""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from flows.reporting.finished import Finished
from flows.runs.run import RECORD, Run, all_runs, find_run, read_sweeps
from flows.runs.sweep_spec import cells, read_sweep
from gtr_core.util.errors import UserError


@dataclass(frozen=True)
class Selection:
    """Finished runs of one evaluation set, and what was left out to get there."""

    title: str
    runs: Sequence[Finished]
    left_out: Sequence[str] = ()  # a name and why, each


def select(texts: Sequence[str], home: Path, *, finished_only: bool = False) -> Selection:
    """The runs of names, keys, sweeps and sweep files, each once.

    Args:
        texts: as they stand on the command line.
        home: the workspace.
        finished_only: leave out what has not finished, instead of refusing it.

    Raises:
        UserError: nothing of that name; a run that has not finished; runs evaluated on different episodes.
    """
    found: dict[str, Run] = {}
    missing: list[str] = []
    for text in texts:
        for label, run in _resolve(text, home).items():
            if run is not None:
                found[run.key] = run
            if run is None or not (run.directory / RECORD).is_file():
                missing.append(label)
    if missing and not finished_only:
        raise UserError(
            f"{_listed(missing)} {'has' if len(missing) == 1 else 'have'} not finished: wait for "
            f"{'it' if len(missing) == 1 else 'them'}, or add --finished to take the others."
        )
    runs = [Finished(run) for run in found.values() if (run.directory / RECORD).is_file()]
    if not runs:
        raise UserError(f"None of {_listed(missing)} has finished yet: `gtr status` shows how far they are.")
    check_sets(runs)
    return Selection(
        ", ".join(Path(t).stem if t.endswith(".yaml") else t for t in texts),
        runs,
        [f"{name} (not finished)" for name in missing],
    )


def _resolve(text: str, home: Path) -> dict[str, Run | None]:
    """Runs by the words for them; None for a sweep's cell that has not been started."""
    runs = list(all_runs(home))
    path = Path(text)
    if path.suffix == ".yaml" and path.is_file():
        sweep = read_sweep(path)
        return {f"{sweep.name} {cell.label}": _cell(runs, sweep.name, cell.label) for cell in cells(sweep, home)}
    members = [run for run in runs if text in read_sweeps(run)]
    if members:
        labels = dict.fromkeys(read_sweeps(run)[text] for run in reversed(members))
        return {f"{text} {label}": _cell(members, text, label) for label in labels}
    sweeps = sorted({name for run in runs for name in read_sweeps(run)})
    try:
        run = find_run(text, home)
    except UserError as error:
        near = difflib.get_close_matches(text, sweeps, n=1, cutoff=0.6)
        if near:
            raise UserError(f"There is no run or sweep '{text}' in {home}: did you mean '{near[0]}'?") from error
        raise
    return {run.key: run}


def _cell(runs: Sequence[Run], sweep: str, label: str) -> Run | None:
    """The latest active run of a cell that has finished, else the latest active one."""
    found = [run for run in runs if read_sweeps(run).get(sweep) == label]
    return next((run for run in found if (run.directory / RECORD).is_file()), found[0] if found else None)


def check_sets(runs: Sequence[Finished]) -> None:
    """Refuse runs whose final evaluations are not on the same episodes; raises UserError that names the difference."""
    first = runs[0]
    for run in runs[1:]:
        a, b = first.finals["agent"], run.finals["agent"]
        if a.digest != b.digest:
            what = f"{a.set} and {b.set}" if a.set != b.set else f"two sets of one name, {a.set}"
            raise UserError(
                f"{first.name} and {run.name} were evaluated on different episodes, {what} (digests {a.digest[:8]} and "
                f"{b.digest[:8]}): compare runs whose env, evaluation.episodes and evaluation.set_seed agree."
            )


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
