"""The fixed episodes of an evaluation stage, as MLflow's dataset."""

import json
from dataclasses import dataclass

from mlflow.entities import Dataset, DatasetInput, InputTag

from gtr_core.util.files import read_json
from tasks.store.record import StageRecord
from tasks.store.store import MANIFEST

EPISODES = "episodes.json"
CONTEXTS = {"valid": "validation", "test": "test"}
_DIGEST = 36  # MLflow keeps no more characters of a digest; the source has all 64


@dataclass(frozen=True)
class EvaluationSet:
    """Which episodes, from which they can be made again: `gtr_core.envs.episodes.episode_set`."""

    name: str
    digest: str  # SHA-256 of the episodes
    episodes: int
    context: str  # validation | test
    source: str  # JSON: environment, split, number and seed of the set
    drifting: bool  # its episodes change with the iteration

    @classmethod
    def read(cls, record: StageRecord) -> "EvaluationSet":
        """The set that an `evaluate` stage was played on."""
        found, config = read_json(record.directory / EPISODES), read_json(record.directory / MANIFEST)["config"]
        source = {name: config[name] for name in ("env", "split", "episodes", "set_seed")}
        return cls(
            name=found["set"],
            digest=found["digest"],
            episodes=found["n"],
            context=CONTEXTS[config["split"]],
            source=json.dumps(source | {"sha256": found["digest"]}, sort_keys=True),
            drifting=bool(config["env"]["kwargs"].get("drift")),
        )

    @property
    def short_digest(self) -> str:
        """What MLflow shows."""
        return self.digest[:_DIGEST]

    @property
    def identity(self) -> str:
        """What scores must share to be compared; in a drifting environment one set for all iterations."""
        return self.name if self.drifting else self.digest

    def as_input(self) -> DatasetInput:
        """An input of a run, with its context."""
        dataset = Dataset(
            name=self.name,
            digest=self.short_digest,
            source_type="gtr",
            source=self.source,
            profile=json.dumps({"episodes": self.episodes}),
        )
        return DatasetInput(dataset, [InputTag("mlflow.data.context", self.context)])
