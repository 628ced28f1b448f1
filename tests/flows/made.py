"""Runs whose stages are there without having been computed: a directory and a manifest under each key."""

import json
import shutil
from pathlib import Path

import pytest

from flows.experiment import Plan
from flows.runs.events import Journal
from flows.runs.run import PLAIN, Origin, Run, open_run
from gtr_core.config import Experiment
from gtr_core.config.loading import load_experiment
from gtr_core.util.files import read_json
from tasks.store.fingerprint import code_files, code_version
from tasks.store.store import MANIFEST, StageStore
from tests.flows.conftest import SMALL, Finished, config

MERGE = "tasks.stages.merge"


def small(*overrides: str, method: str = "kl") -> Experiment:
    return load_experiment(Path(config(method)), [*SMALL, "evaluation.every=2", *overrides])


def branched(run: Finished, home: Path) -> dict[str, str]:
    """A workspace with the run's stages, and an MLflow store of its own; what its commands need in the environment."""
    for folder in ("store", "runs"):
        shutil.copytree(run.home / folder, home / folder)
    return {"PREFECT_API_URL": read_json(run.home / "prefect" / "server.json")["url"]}


def finished(
    experiment: Experiment,
    home: Path,
    *,
    origin: Origin = PLAIN,
    before: str = "",
    seconds: float = 2.0,
    device: str = "cpu (x86_64)",
) -> Run:
    """A run with every stage there, or those before the one named."""
    run = open_run(experiment, home, origin)
    planned, journal = Plan(run, StageStore(home / "store")), Journal(run.directory)
    journal.write("plan", stages=list(planned.records))
    for name, record in planned.records.items():
        if name == before:
            break
        if record.state == "planned":
            record.directory.mkdir(parents=True)
            told = {k: v for k, v in record.to_json().items() if k not in ("state", "path")}
            told |= {"seconds": seconds, "device": device, "created": "2026-01-01T00:00:00+00:00"}
            (record.directory / MANIFEST).write_text(json.dumps({**told, **planned.stages[name].facts}))
        journal.write("end", stage=name, state="done", seconds=seconds, of=record.stage, key=record.key)
    return run


def change_code(monkeypatch: pytest.MonkeyPatch) -> None:
    """One module behind the merge is edited."""

    def version(*modules: str) -> str:
        return "edited" if modules[0] == MERGE else code_version(*modules)

    def files(*modules: str) -> dict[str, str]:
        return code_files(*modules) | ({"gtr_core.merge.ties": "edited"} if modules[0] == MERGE else {})

    monkeypatch.setattr("tasks.store.stage.code_version", version)
    monkeypatch.setattr("tasks.store.stage.code_files", files)
    monkeypatch.setattr("flows.runs.run.code_version", lambda *modules: "edited")
