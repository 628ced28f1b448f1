"""Why a stage would be computed again: which parts of its key differ from those of the run's last such stage."""

from collections.abc import Mapping, Sequence
from typing import Any

from flows.experiment import Plan
from flows.runs.events import read_events
from flows.runs.run import Run, all_runs, open_store, run_of
from gtr_core.config.loading import flatten
from gtr_core.util.files import read_json
from tasks.store.stage import Stage
from tasks.store.store import MANIFEST, StageStore

OLDER = "made by an older version of gtr, whose keys were formed otherwise"


def recomputed(run: Run) -> dict[str, list[str]]:
    """By name, the stages that were finished and that the run's command would compute today, each with its reasons.

    A stage is compared with the latest of its name in runs of the run's name: the same experiment, method and seed.
    """
    store = open_store(run)
    today = Plan(run_of(run.experiment, run.workspace, run.origin), store)
    finished = _finished(run)
    return {
        name: _reasons(store, finished[name], today.stages[name])
        for name, record in today.records.items()
        if record.state == "planned" and name in finished
    }


def _finished(run: Run) -> dict[str, tuple[str, str]]:
    """By name, the stage and key of what was finished last."""
    events = [
        event
        for other in all_runs(run.workspace)
        if other.name == run.name
        for event in read_events(other.directory)
        if event["event"] == "end" and "key" in event
    ]
    return {e["stage"]: (e["of"], e["key"]) for e in sorted(events, key=lambda event: float(event["time"]))}


def _reasons(store: StageStore, before: tuple[str, str], stage: Stage[Any]) -> list[str]:
    path = store.directory(*before) / MANIFEST
    if not path.is_file():
        return ["its files are no longer in the store"]
    return differences(read_json(path), stage.facts)


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """What sets two stages' keys apart, as words: modules, fields of the configuration, seed, input stages.

    Keys that were made in another way cannot be set side by side: then OLDER is all there is to say.
    """
    if before.get("keys", 1) != after["keys"]:
        return [OLDER]
    old, new = flatten(dict(before["config"])), flatten(dict(after["config"]))
    reasons = [f"code {module}" for module in _differing(before["sources"], after["sources"])]
    reasons += [f"config {field}: {_value(old, field)} -> {_value(new, field)}" for field in _differing(old, new)]
    if before["seed"] != after["seed"]:
        reasons.append(f"seed: {before['seed']} -> {after['seed']}")
    return reasons + [f"input {name}" for name in _differing(before["inputs"], after["inputs"])]


def _differing(before: Mapping[str, Any], after: Mapping[str, Any]) -> Sequence[str]:
    return sorted(key for key in before.keys() | after.keys() if before.get(key) != after.get(key))


def _value(values: Mapping[str, Any], field: str) -> str:
    return str(values[field]) if field in values else "(none)"
