"""One finished run as its files tell it: final figures, every episode of the final play, curves, stages."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from flows.runs.run import RECORD, Run
from gtr_core.util.errors import UserError
from gtr_core.util.files import read_json
from tasks.store.metrics import read_metrics
from tasks.store.store import MANIFEST

WHO = {
    "start": "start",
    "agent": "final agent",
    "best": "best agent",
    "teacher": "teacher",
    "mean": "plain mean",
}  # who plays the test episodes, and their names in tables
MODES = ("greedy", "sampled")


@dataclass(frozen=True)
class Final:
    """The test evaluation of one policy of a run."""

    who: str
    key: str  # the stage's
    set: str
    digest: str
    figures: Mapping[str, Mapping[str, float]]  # by mode
    directory: Path

    def episodes(self, mode: str) -> list[dict[str, Any]]:
        """One record an episode, in the set's order: `deal`, `won`, `return`, `texts`, ..."""
        return [json.loads(line) for line in (self.directory / f"{mode}.jsonl").read_text().splitlines()]


class Finished:
    """A run that has ended; raises UserError for one that has not, or whose stages are gone."""

    def __init__(self, run: Run) -> None:
        path = run.directory / RECORD
        if not path.is_file():
            raise UserError(f"The run {run.key} has not finished: `gtr status {run.key}` shows where it stands.")
        self.run = run
        self.record: dict[str, Any] = read_json(path)

    @property
    def name(self) -> str:
        """The run's key."""
        return self.run.key

    @property
    def seed(self) -> int:
        """The run's seed."""
        return self.run.experiment.seed

    def directory(self, stage: Mapping[str, Any]) -> Path:
        """Where a stage of the record is."""
        return self.run.workspace / "store" / str(stage["stage"]) / str(stage["key"])

    @cached_property
    def manifests(self) -> list[dict[str, Any]]:
        """Every stage's `stage.json`, in the order of the run.

        Raises:
            UserError: a stage is no longer in the store.
        """
        found = []
        for stage in self.record["stages"]:
            path = self.directory(stage) / MANIFEST
            if not path.is_file():
                raise UserError(
                    f"The run {self.name} has lost its stage {stage['stage']} of iteration {stage['iteration']}: "
                    f"{path} is not there; `{self.record['command']}` computes it again."
                )
            found.append(read_json(path))
        return found

    def of(self, stage: str) -> Iterator[dict[str, Any]]:
        """The manifests of one kind of stage."""
        return (manifest for manifest in self.manifests if manifest["stage"] == stage)

    @cached_property
    def finals(self) -> dict[str, Final]:
        """The test evaluations by who played."""
        found = {}
        for manifest in self.of("evaluate"):
            if manifest["config"]["split"] != "test":
                continue
            who, directory = manifest["config"]["who"], self.directory(manifest)
            facts = read_json(directory / "episodes.json")
            figures = {
                mode: {
                    key.removeprefix(f"final_{who}/{mode}_"): value
                    for key, value in manifest["metrics"].items()
                    if key.startswith(f"final_{who}/{mode}_")
                }
                for mode in MODES
            }
            found[who] = Final(who, manifest["key"], facts["set"], facts["digest"], figures, directory)
        return found

    @cached_property
    def curves(self) -> pd.DataFrame:
        """Every metric of every stage: columns metric, step (environment steps), value, iteration."""
        rows = [
            {"metric": line.key, "step": line.step, "value": line.value, "iteration": manifest["iteration"]}
            for manifest in self.manifests
            for line in read_metrics(self.directory(manifest))
        ]
        return pd.DataFrame(rows, columns=["metric", "step", "value", "iteration"])
