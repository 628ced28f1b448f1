"""What a run owes MLflow: a class a kind of message, each of which knows what it comes to there."""

import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from mlflow import MlflowClient
from mlflow.entities import Metric, Run
from mlflow.exceptions import MlflowException

from gtr_core.util.locks import exclusive
from tasks.store.metrics import read_metrics
from tasks.tracking.aliases import BEST, Score, give_score
from tasks.tracking.connection import store_lock
from tasks.tracking.dataset import EvaluationSet
from tasks.tracking.model_registry import ModelRequest, RegisteredVersion, register, slug
from tasks.tracking.traces import log_traces

_BATCH = 1000  # metrics in one call, MLflow's limit
Delivered = Mapping[str, RegisteredVersion | None]  # by message id: the version that a model became; None for the rest


@dataclass(frozen=True)
class Recipient:
    """The MLflow run that is told, and what it has been told before."""

    client: MlflowClient
    run: Run
    run_key: str
    workspace: Path
    delivered: Delivered


@dataclass(frozen=True, kw_only=True)
class Message(ABC):
    """One thing that a run owes MLflow; to deliver it twice is the same as once."""

    kind: ClassVar[str]
    once: ClassVar[bool] = True  # its content never changes, because a stage's does not
    key: str  # what it is about: mostly the key of a stage
    at: int = field(default_factory=time.time_ns)  # tells it from a newer one of the same id
    again: bool = False  # it is owed even where it has been delivered

    @property
    def id(self) -> str:
        """What it is known by: a run owes one message of an id at a time."""
        return f"{self.kind}:{self.key}"

    @abstractmethod
    def deliver(self, to: Recipient) -> RegisteredVersion | None:
        """Tell MLflow; what this gives is remembered under the id."""


@dataclass(frozen=True, kw_only=True)
class StageModel(Message):
    """The model that a stage has made."""

    kind = "model"
    request: ModelRequest

    def deliver(self, to: Recipient) -> RegisteredVersion:
        """Register it; its family is told by those of its stages that the run has registered before."""
        family = (*self.request.members, self.request.parent)
        known = {key: model.model_id for key in family if (model := model_of(to.delivered, key))}
        return register(to.client, to.run, to.run_key, self.request, known)


@dataclass(frozen=True, kw_only=True)
class StageMetrics(Message):
    """The metrics of a stage."""

    kind = "metrics"
    path: str  # the stage's directory
    also: Sequence[str] = ()  # folders with more of them
    subject: str | None = None  # key of the stage whose model they are of
    on: EvaluationSet | None = None  # the episodes that they are of

    def deliver(self, to: Recipient) -> None:
        """Log them, at the times of their measurement."""
        model = model_of(to.delivered, self.subject)
        metrics = [
            Metric(
                line.key,
                line.value,
                line.timestamp_ms,
                line.step,
                model_id=model.model_id if model else None,
                dataset_name=self.on.name if self.on else None,
                dataset_digest=self.on.short_digest if self.on else None,
            )
            for folder in (self.path, *self.also)
            for line in read_metrics(Path(folder))
        ]
        for start in range(0, len(metrics), _BATCH):
            to.client.log_batch(to.run.info.run_id, metrics=metrics[start : start + _BATCH])


@dataclass(frozen=True, kw_only=True)
class ModelScore(Message):
    """How a stage's model did on validation episodes."""

    kind = "score"
    subject: str  # key of the model's stage
    score: Score

    def deliver(self, to: Recipient) -> None:
        """Let the version compete for the aliases, if the run has registered it."""
        if model := model_of(to.delivered, self.subject):
            with exclusive(store_lock(to.workspace)):
                give_score(to.client, model.name, model.version, self.score, f"{slug(to.run_key)}-{BEST}")


@dataclass(frozen=True, kw_only=True)
class PlayedSet(Message):
    """The fixed episodes that an evaluation has played."""

    kind = "dataset"
    on: EvaluationSet

    def deliver(self, to: Recipient) -> None:
        """Name the set as the run's input.

        The store's lock reaches as far as the workspace. Where a run of another workspace notes a set that is new to
        the store at the same moment, MLflow refuses the second, which finds the set when it asks again.
        """
        with exclusive(store_lock(to.workspace)):
            try:
                to.client.log_inputs(to.run.info.run_id, datasets=[self.on.as_input()])
            except MlflowException as error:
                if "unique" not in str(error).lower():
                    raise
                to.client.log_inputs(to.run.info.run_id, datasets=[self.on.as_input()])


@dataclass(frozen=True, kw_only=True)
class Traces(Message):
    """The episodes of a table of `tasks.tracking.episode_samples`."""

    kind = "traces"
    path: str
    of: str  # what the episodes are of

    def deliver(self, to: Recipient) -> None:
        """Trace those that are not there yet."""
        log_traces(to.client, to.run, Path(self.path), self.of)


@dataclass(frozen=True, kw_only=True)
class Artifacts(Message):
    """Files for a folder of the run's artifacts; later ones of the same names replace them."""

    kind, once = "artifacts", False
    paths: Sequence[str]
    under: str  # "" is the top folder

    def deliver(self, to: Recipient) -> None:
        """Copy them."""
        for path in self.paths:
            to.client.log_artifact(to.run.info.run_id, path, self.under or None)


@dataclass(frozen=True, kw_only=True)
class Finish(Message):
    """The end of the run."""

    kind, once = "finish", False
    key: str = ""
    status: str  # FINISHED | FAILED | KILLED

    def deliver(self, to: Recipient) -> None:
        """End the MLflow run."""
        to.client.set_terminated(to.run.info.run_id, self.status)


KINDS: Mapping[str, type[Message]] = {
    kind.kind: kind for kind in (StageModel, StageMetrics, ModelScore, PlayedSet, Traces, Artifacts, Finish)
}


def model_of(delivered: Delivered, stage_key: str | None) -> RegisteredVersion | None:
    """The version that a run has registered from a stage; None when it has not."""
    return delivered.get(f"{StageModel.kind}:{stage_key}")
