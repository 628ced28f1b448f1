"""Runs of a workspace: `<workspace>/runs/<name>-<key>/` holds a run's configuration, its journal and final record."""

import difflib
import hashlib
import json
import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flows.runs.events import JOURNAL
from gtr_core.config import NOT_DECIDING, Experiment
from gtr_core.config.loading import build, to_dict
from gtr_core.guidance.base import guidance_of
from gtr_core.util.errors import UserError
from gtr_core.util.files import read_json, write_json
from tasks.store.contents import environment_implementations, evaluation_settings, model_settings, training_settings
from tasks.store.fingerprint import code_version
from tasks.store.remote import shared_store
from tasks.store.store import StageStore

STAGES = tuple(
    f"tasks.stages.{name}"
    for name in ("warm_start", "rollout", "guide", "update", "merge", "evaluate", "evaluate_best")
)
CONFIG, ORIGIN, RECORD, SWEEPS = "experiment.json", "origin.json", "record.json", "sweeps.json"


@dataclass(frozen=True)
class Origin:
    """What sets a run apart from a plain one of its configuration."""

    history: tuple[tuple[int, Experiment], ...] = ()  # (last iteration, its configuration), rising; empty: no fork
    parent: str = ""  # the run's key that this one was forked from
    accept_code_change: bool = False  # it takes results of older code


PLAIN = Origin()


@dataclass(frozen=True)
class Run:
    """A configuration under the code of today: the unit that is resumed."""

    experiment: Experiment
    workspace: Path
    name: str  # cards3-turbo_kl-s1
    key: str  # <name>-<8 hex digits>; also the folder's name
    origin: Origin = PLAIN

    @property
    def directory(self) -> Path:
        """The run's folder."""
        return self.workspace / "runs" / self.key

    def at(self, iteration: int) -> Experiment:
        """The configuration of an iteration, counted from 1: a fork's history keeps its parent's."""
        return next((e for until, e in self.origin.history if iteration <= until), self.experiment)


def workspace() -> Path:
    """The folder that all state lives in: `GTR_HOME`, or `.gtr` in the current folder."""
    return Path(os.environ.get("GTR_HOME", ".gtr")).absolute()


def gc_lock(home: Path) -> Path:
    """Held by who plans a run and makes its folder, and by who frees: each sees the other's doing whole."""
    return home / "locks" / "gc.lock"


def run_of(experiment: Experiment, home: Path, origin: Origin = PLAIN) -> Run:
    """The run of a configuration; nothing is written.

    The key covers everything that decides the result (not NOT_DECIDING, which only says how) and the code of the
    stages: the same command again is the same run, and changed code is another one.
    """
    facts = deciding(experiment) | {"code": code_version(*_modules(experiment))}
    facts["model"] = model_settings(experiment.model)
    facts["env"] = [training_settings(experiment.env)]
    facts["env"] += [evaluation_settings(experiment.env, split) for split in ("valid", "test")]
    if origin.history:
        facts["history"] = [[until, deciding(earlier)] for until, earlier in origin.history]
    if origin.accept_code_change:
        facts["accept_code_change"] = True
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
    name = _name(experiment, origin)
    return Run(experiment, home, name, f"{name}-{digest[:8]}", origin)


def _modules(experiment: Experiment) -> list[str]:
    """The modules that compute a run's stages, and those that its configuration chooses."""
    guidance, merge = guidance_of(experiment), experiment.merge.chosen
    chosen = [entry for entry in (experiment.guidance, merge.merge, merge.select) if entry]
    return [
        *STAGES,
        *environment_implementations(experiment.env),
        *chosen,
        *(guidance.implementations if guidance else ()),
    ]


def open_run(experiment: Experiment, home: Path, origin: Origin = PLAIN) -> Run:
    """`run_of`, with the run's folder made, which says what it is; what decides nothing is as it was asked for last."""
    run = run_of(experiment, home, origin)
    run.directory.mkdir(parents=True, exist_ok=True)
    if origin != PLAIN and not (run.directory / ORIGIN).exists():
        write_json(run.directory / ORIGIN, to_dict(origin))
    write_json(run.directory / CONFIG, to_dict(experiment))
    return run


def all_runs(home: Path) -> Iterator[Run]:
    """Every run of a workspace, the latest active first."""
    folders = [p.parent for p in (home / "runs").glob(f"*/{CONFIG}")]
    for folder in sorted(folders, key=_last_active, reverse=True):
        values: dict[str, Any] = read_json(folder / CONFIG)
        experiment, origin = build(values), _read_origin(folder)
        yield Run(experiment, home, _name(experiment, origin), folder.name, origin)


def join_sweep(run: Run, sweep: str, cell: str) -> None:
    """Note that the run is a cell of a sweep, as the latest of those it belongs to."""
    belongs = [[name, label] for name, label in read_sweeps(run).items() if name != sweep]
    write_json(run.directory / SWEEPS, [*belongs, [sweep, cell]])


def read_sweeps(run: Run) -> dict[str, str]:
    """The sweeps that the run is a cell of, the latest last, with the cell's label in each."""
    path = run.directory / SWEEPS
    return dict(read_json(path)) if path.exists() else {}


def open_store(run: Run, *, recompute_damaged: bool = False, restore: Collection[str] = ()) -> StageStore:
    """The stages of a run: the workspace's, and those that other machines share with it, if any do."""
    return StageStore(
        run.workspace / "store",
        shared=shared_store(run.experiment.execution.store),
        recompute_damaged=recompute_damaged,
        accept_code_change=run.origin.accept_code_change,
        restore=restore,
    )


def is_complete(run: Run) -> bool:
    """Whether the run has ended and all its stages are still in the store."""
    path = run.directory / RECORD
    if not path.is_file():
        return False
    store = run.workspace / "store"
    return all((store / s["stage"] / s["key"] / "stage.json").is_file() for s in read_json(path)["stages"])


def find_run(text: str, home: Path) -> Run:
    """The run of that name or key (a unique beginning will do); of several with one name the latest active.

    Raises:
        UserError: there is none, or several begin so; names the nearest.
    """
    runs = list(all_runs(home))
    if not runs:
        raise UserError(f"There are no runs in {home} yet: start one with `gtr run CONFIG`.")
    exact = [r for r in runs if text in (r.key, r.name)]
    if exact:
        return exact[0]
    begin = {r.name: r for r in reversed(runs) if r.key.startswith(text)}
    if len(begin) == 1:
        return next(iter(begin.values()))
    if begin:
        raise UserError(f"'{text}' could be {', '.join(sorted(begin))}: name one of them.")
    near = difflib.get_close_matches(text, [r.name for r in runs], n=1, cutoff=0.3)
    raise UserError(f"There is no run '{text}' in {home}: did you mean '{(near or [runs[0].name])[0]}'?")


def _name(experiment: Experiment, origin: Origin) -> str:
    name = f"{experiment.name}-{experiment.method}-s{experiment.seed}"
    return f"{name}-fork{origin.history[-1][0]}" if origin.history else name


def deciding(experiment: Experiment) -> dict[str, Any]:
    """The configuration without what decides no result."""
    facts = to_dict(experiment)
    for path in NOT_DECIDING:
        section, _, name = path.rpartition(".")
        (facts[section] if section else facts).pop(name)
    return facts


def _read_origin(folder: Path) -> Origin:
    if not (folder / ORIGIN).exists():
        return PLAIN
    facts = read_json(folder / ORIGIN)
    history = tuple((until, build(values)) for until, values in facts["history"])
    return Origin(history, facts["parent"], facts["accept_code_change"])


def _last_active(folder: Path) -> float:
    journal = folder / JOURNAL
    return (journal if journal.exists() else folder / CONFIG).stat().st_mtime
