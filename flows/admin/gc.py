"""`gtr gc`: free the tensors of checkpoints, teachers and rollouts that nothing needs any more.

A stage's tensors stay where the retention policy of a run that has it says so, where a version of it has an alias or is
still to be delivered, and where an unfinished run reads them when it goes on. Starts stay always: every checkpoint
needs its own. What goes can be computed again: a run that needs a freed stage does so, to the same bytes on a CPU.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mlflow import MlflowClient

from flows.experiment import plan
from flows.runs.events import read_events
from flows.runs.run import RECORD, Run, all_runs, find_run, gc_lock, run_of, workspace
from flows.say import say
from gtr_core.config import RetentionConfig
from gtr_core.util.errors import UserError
from gtr_core.util.locks import exclusive
from tasks.store.record import StageRecord
from tasks.store.retention import kept, reads
from tasks.store.store import StageStore
from tasks.tracking import freeing
from tasks.tracking.connection import Failure, connect, is_away
from tasks.tracking.freeing import Garbage, Links, by_stage, tensors_of, with_alias
from tasks.tracking.messages import StageModel
from tasks.tracking.model_versions import versions
from tasks.tracking.outbox import Outbox


def collect_garbage(names: Sequence[str], keep: str | None, n: int, *, free: bool, show: bool) -> dict[str, Any]:
    """List what can be freed, and free it if asked to; the list as plain values.

    Args:
        names: runs that `keep` and `n` are for; empty for all.
        keep: the policy, in place of the runs' own `retention`; None for those.
        n: of the policy.
        free: remove it, rather than only tell.
        show: print it.

    Raises:
        UserError: no such run or policy, or MLflow, which knows the aliases, is away.
    """
    home = workspace()
    if keep is None and (names or n != 1):
        raise UserError("runs and --n go with a policy: add --keep all, last, every or best.")
    asked = RetentionConfig(keep, n) if keep else None
    chosen = {find_run(name, home).key for name in names} or {run.key for run in all_runs(home)}
    policies = {run.key: asked if asked and run.key in chosen else run.experiment.retention for run in all_runs(home)}
    try:
        with exclusive(gc_lock(home)):
            client = connect(home)
            garbage = find_garbage(client, home, policies)
            for item in garbage if free else ():
                freeing.free(client, StageStore(home / "store"), item)
    except Failure as error:
        if not is_away(error):
            raise
        raise UserError("MLflow is away, and only it knows the aliases: run `gtr gc` when it answers.") from error
    total = sum(item.size for item in garbage)
    if show:
        _print(garbage, total, home, freed=free)
    listed = [{"path": str(item.path), "bytes": item.size, "why": item.why} for item in garbage]
    return {"freed": free, "bytes": total, "stages": listed}


def find_garbage(client: MlflowClient, home: Path, policies: Mapping[str, RetentionConfig]) -> list[Garbage]:
    """The stages whose tensors nothing needs, and the remains of damaged ones; call it with `gc_lock` held."""
    store = StageStore(home / "store")
    stages = {record.key: record for record in store}
    found = versions(client, "")
    needed = with_alias(client, found) | _undelivered(home)
    reasons: dict[str, str] = {}
    for run in all_runs(home):
        own = [stages[key] for key in _stages_of(run) if key in stages]
        keep = _needed_by(run, own) | kept(own, policies[run.key])
        needed |= keep
        policy = policies[run.key]
        for record in own:
            if record.key not in keep:
                reasons[record.key] = f"{run.key} keeps {policy.keep} {policy.n}"
    links, of_stage = Links(home / "mlartifacts"), by_stage(found)
    garbage = []
    for key, record in stages.items():
        if key not in needed and record.freeable:
            models = of_stage.get(key, ())
            files, size = tensors_of(record, models, links)
            if files:
                garbage.append(
                    Garbage(record.directory, files, size, reasons.get(key, "no run has it"), record, models)
                )
    if not any(_going_on(run) for run in all_runs(home)):
        parts = (record.directory for record in stages.values() if record.is_part)
        garbage += [_whole(path, "its parts were joined") for path in parts]
    damaged = sorted((home / "store").glob("*/*.damaged-*"))
    return garbage + [_whole(path, "it was set aside as damaged") for path in damaged]


def _whole(path: Path, why: str) -> Garbage:
    """A directory of which nothing stays."""
    size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file() and file.stat().st_nlink == 1)
    return Garbage(path, [], size, why, None)


def _going_on(run: Run) -> bool:
    """Whether the run may be amid a stage, or go on with one: then parts may wait to be joined."""
    return not (run.directory / RECORD).is_file() or (run.directory / "run.lock").exists()


def _stages_of(run: Run) -> set[str]:
    """Keys of the stages that a run has had, in any attempt."""
    return {event["key"] for event in read_events(run.directory) if event["event"] == "end" and "key" in event}


def _needed_by(run: Run, own: Sequence[StageRecord]) -> set[str]:
    """What a run reads when it goes on; all that it has where that is unfinished work of older code."""
    if run_of(run.experiment, run.workspace, run.origin).key == run.key:
        store = StageStore(run.workspace / "store", accept_code_change=run.origin.accept_code_change)
        return reads(plan(run, store).values(), store.freed)[0]
    return set() if (run.directory / RECORD).is_file() else {record.key for record in own}


def _undelivered(home: Path) -> set[str]:
    """Keys of the stages whose models MLflow has still to be given."""
    owed = (message for folder in (home / "runs").glob("*") for message in Outbox.read(folder).pending)
    return {message.key for message in owed if isinstance(message, StageModel)}


def _print(garbage: Sequence[Garbage], total: int, home: Path, *, freed: bool) -> None:
    for item in garbage:
        name = item.record.name if item.record else item.path.parent.name
        say(f"{_megabytes(item.size):>10}  {name:<12} {item.path.relative_to(home)}  {item.why}", result=True)
    if not garbage:
        say("Nothing to free: aliases, retention and unfinished runs need all that is there.", result=True)
    elif freed:
        say(f"Freed {_megabytes(total)} of {len(garbage)} stages.", result=True)
    else:
        say(f"{_megabytes(total)} of {len(garbage)} stages can be freed: `gtr gc --yes` does it.", result=True)


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB"
