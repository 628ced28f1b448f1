"""Runs of a workspace: `<workspace>/runs/<name>-<key>/` holds a run's configuration, its journal and final record."""

import difflib
import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from flows.journal import JOURNAL
from gtr_core.compose import build, to_dict
from gtr_core.config import Experiment
from gtr_core.errors import UserError
from gtr_core.files import read_json, write_json
from tasks.code_version import code_version

CONFIG, RECORD = "experiment.json", "record.json"
STAGES = ("warm_start", "rollout", "guide", "update", "merge", "evaluate")


@dataclass(frozen=True)
class Run:
    """A configuration under the code of today: the unit that is resumed."""

    experiment: Experiment
    workspace: Path
    name: str  # cards3-turbo_kl-s1
    key: str  # <name>-<8 hex digits>; also the folder's name

    @property
    def directory(self) -> Path:
        """The run's folder."""
        return self.workspace / "runs" / self.key


def workspace() -> Path:
    """The folder that all state lives in: `GTR_HOME`, or `.gtr` in the current folder."""
    return Path(os.environ.get("GTR_HOME", ".gtr")).absolute()


def open_run(experiment: Experiment, home: Path) -> Run:
    """The run of a configuration; its folder is made and says what it is.

    The key covers everything that decides the result (not `execution` and `corrector.endpoint`, which only say how) and
    the code of the stages: the same command again is the same run, and changed code is another one.
    """
    name = f"{experiment.name}-{experiment.method}-s{experiment.seed}"
    facts = to_dict(experiment) | {"code": [code_version(f"tasks.{stage}") for stage in STAGES]}
    facts.pop("execution")
    facts["corrector"].pop("endpoint")
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
    run = Run(experiment, home, name, f"{name}-{digest[:8]}")
    run.directory.mkdir(parents=True, exist_ok=True)
    if not (run.directory / CONFIG).exists():
        write_json(run.directory / CONFIG, to_dict(experiment))
    return run


def all_runs(home: Path) -> Iterator[Run]:
    """Every run of a workspace, the latest active first."""
    folders = [p.parent for p in (home / "runs").glob(f"*/{CONFIG}")]
    for folder in sorted(folders, key=_last_active, reverse=True):
        values: dict[str, Any] = read_json(folder / CONFIG)
        experiment = build(values)
        name = f"{experiment.name}-{experiment.method}-s{experiment.seed}"
        yield Run(experiment, home, name, folder.name)


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


def with_method(experiment: Experiment, method: str) -> Experiment:
    """The same experiment with another method."""
    return replace(experiment, method=method)


def _last_active(folder: Path) -> float:
    journal = folder / JOURNAL
    return (journal if journal.exists() else folder / CONFIG).stat().st_mtime
