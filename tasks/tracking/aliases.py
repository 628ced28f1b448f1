"""The aliases `<run>-best` and `best`: which version of a registered model did best on validation episodes.

Never by test episodes. More success wins; of equals the one with fewer environment steps, then the run whose key comes
first. Success on different validation sets is not compared: the set with more episodes decides, and of two sets of one
size the one that was there first.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

BEST = "best"


@dataclass(frozen=True)
class Score:
    """A model's greedy success on a validation set."""

    success: float
    env_steps: int
    run_key: str
    valid_set: str  # what the set is known by
    episodes: int  # in the set

    def beats(self, other: "Score") -> bool:
        """Whether the alias is to move here from a version with the `other` score; never for equal ones."""
        if self.valid_set != other.valid_set:
            return self.episodes > other.episodes
        return self._rank < other._rank

    @property
    def _rank(self) -> tuple[float, int, str]:
        return -self.success, self.env_steps, self.run_key

    def tags(self) -> dict[str, str]:
        """What the version is tagged with besides its steps and its run, which it has been tagged with before."""
        return {
            "gtr.valid_success": repr(self.success),
            "gtr.valid_set": self.valid_set,
            "gtr.valid_episodes": str(self.episodes),
        }

    @classmethod
    def of(cls, tags: Mapping[str, str]) -> "Score | None":
        """The score that a version is tagged with; None when it was never validated."""
        if "gtr.valid_success" not in tags:
            return None
        return cls(
            success=float(tags["gtr.valid_success"]),
            env_steps=int(tags["gtr.env_steps"]),
            run_key=tags["gtr.run_key"],
            valid_set=tags["gtr.valid_set"],
            episodes=int(tags["gtr.valid_episodes"]),
        )


def give_score(client: MlflowClient, name: str, version: str, score: Score, alias: str) -> None:
    """Tag the version with its score and give it the run's `alias` and `best` where it beats their holders.

    It reads, compares and sets: hold the store's lock, or a better version of another run may be overwritten.
    """
    for key, value in score.tags().items():
        client.set_model_version_tag(name, version, key, value)
    for claimed in (alias, BEST):
        holder = version_by_alias(client, name, claimed)
        held = None if holder is None else Score.of(holder.tags)
        if held is None or score.beats(held):
            client.set_registered_model_alias(name, claimed, version)


def version_by_alias(client: MlflowClient, name: str, alias: str) -> ModelVersion | None:
    """The version with the alias; None when no version has it."""
    try:
        return client.get_model_version_by_alias(name, alias)
    except MlflowException as error:
        if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE", "NOT_FOUND"):
            raise
        return None
