"""Stage `evaluate`: agent, teacher, start or plain mean on the same fixed episodes."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor

from gtr_core.config import Experiment, MergeConfig
from gtr_core.config.choices import MERGE_METHODS
from gtr_core.config.loading import to_dict
from gtr_core.deltas.read import read_deltas
from gtr_core.envs.episodes import EpisodeSet, episode_set
from gtr_core.evaluation.metrics import summarise
from gtr_core.evaluation.play import Episode, play
from gtr_core.merge.combine import teacher_tensors
from gtr_core.merge.weights import sma
from gtr_core.rollout.shards import shards
from tasks.stages.model_cache import LoadedModel, loaded_model
from tasks.store.contents import environment_implementations, evaluation_settings, model_settings
from tasks.store.record import StageRecord
from tasks.store.results import Averaged, Evaluated, EvaluatedPart, Merged, Started, Updated
from tasks.store.stage import Stage

CURVE = (
    "success_rate",
    "return_mean",
    "valid_rate",
    "legal_rate",
    "thought_accuracy",
    "thought_distinct",
    "self_bleu_2",
    "distinct_2",
    "tokens_generated",
)
ModelRecords = Updated | Merged | Averaged | Sequence[Updated] | None
Played = Mapping[str, list[Episode]]  # by mode


@dataclass(frozen=True)
class Evaluation:
    """Who plays what."""

    experiment: Experiment
    iteration: int  # of the model; 0 for the start
    who: str  # `agent`, `teacher`, `start`, `mean` or `best`; the prefix of the metrics
    model: ModelRecords  # the update or merge that made it; None: the start; several updates: their mean
    split: str  # `valid` for a point of the curves (greedy), `test` for the final table (greedy and sampled)

    @property
    def label(self) -> str:
        """The stage's name in a run."""
        return f"evaluate-final-{self.who}" if self.split == "test" else f"evaluate-{self.iteration}-{self.who}"

    @property
    def implementations(self) -> tuple[str, ...]:
        """What the configuration chose by name: the environment, and the plain mean's where that is played."""
        averaged = isinstance(self.model, Sequence)
        mean = (MERGE_METHODS["linear"].merge,) if averaged else ()
        return (*environment_implementations(self.experiment.env), *mean)

    @property
    def modes(self) -> tuple[str, ...]:
        """How each episode is played."""
        return ("greedy", "sampled") if self.split == "test" else ("greedy",)

    @property
    def count(self) -> int:
        """Number of episodes."""
        config = self.experiment.evaluation
        return config.episodes if self.split == "test" else config.curve_episodes

    def episodes(self) -> EpisodeSet:
        """The fixed episodes."""
        env, seed = self.experiment.env, self.experiment.evaluation.set_seed
        return episode_set(env.id, dict(env.kwargs), self.split, self.count, seed=seed, iteration=self.iteration)

    def settings(self) -> dict[str, object]:
        """What it depends on besides its models: a part of its stage's key."""
        experiment = self.experiment
        return {
            "who": self.who,
            "split": self.split,
            "episodes": self.count,
            "set_seed": experiment.evaluation.set_seed,
            "modes": list(self.modes),
            "batch_size": experiment.rollout.batch_size,
            "env": evaluation_settings(experiment.env, self.split),
            "sampling": to_dict(experiment.sampling),
            "model": model_settings(experiment.model),
        }

    def play_modes(self, loaded: LoadedModel, listed: EpisodeSet, only: range | None = None) -> Played:
        """The episodes, or some of them, played in each mode."""
        dense = self.who in ("teacher", "mean")
        policy = loaded.agent(self.model if isinstance(self.model, Updated) else None)
        weights = _dense_weights(loaded, self.model) if dense else {}
        played = {}
        for mode in self.modes:
            with policy.swapped(weights, adapters=not dense):
                played[mode] = play(
                    policy,
                    listed,
                    greedy=mode == "greedy",
                    seed=self.experiment.seed,
                    batch_size=self.experiment.rollout.batch_size,
                    only=only,
                )
        return played

    def write_results(self, directory: Path, listed: EpisodeSet, played: Played) -> dict[str, float]:
        """Write one line an episode, `greedy.jsonl` and `sampled.jsonl`, in the set's order; the metrics."""
        metrics: dict[str, float] = {}
        for mode, episodes in played.items():
            _write(directory / f"{mode}.jsonl", listed, episodes)
            metrics |= self._named(summarise(episodes), mode)
        facts = {"set": listed.name, "digest": listed.digest, "n": len(listed.episodes)}
        (directory / "episodes.json").write_text(json.dumps(facts))
        steps = self.iteration * self.experiment.rollout.envs * self.experiment.rollout.turns
        return metrics | {"env_steps": float(steps)}

    def _named(self, figures: Mapping[str, float], mode: str) -> dict[str, float]:
        """`agent/success_rate` for the curve; `final_agent/greedy_success_rate` for the table."""
        if self.split == "valid":
            return {f"{self.who}/{k}": figures[k] for k in CURVE if k in figures}
        return {f"final_{self.who}/{mode}_{k}": v for k, v in figures.items()}


def evaluate(start: Started, what: Evaluation) -> Stage[Evaluated]:
    """Play the fixed episodes of a split.

    Cut into `execution.shards`, its parts may come in any order and in any process; what is played does not depend on
    how many there are.
    """
    config = what.experiment
    ranges = shards(what.count, config.rollout.batch_size, config.execution.shards)
    return Stage(
        Evaluated,
        compute=partial(_compute, _unplayed(what)),
        inputs={"start": start, "model": what.model},
        config=what.settings(),
        seed=config.seed,
        iteration=what.iteration,
        implementations=what.implementations,
        parts=tuple(_part(start, what, only) for only in ranges) if len(ranges) > 1 else (),
        label=what.label,
    )


def _part(start: Started, what: Evaluation, only: range) -> Stage[EvaluatedPart]:
    return Stage(
        EvaluatedPart,
        compute=partial(_compute_part, _unplayed(what), only),
        inputs={"start": start, "model": what.model},
        config=what.settings() | {"first": only.start, "count": len(only)},
        seed=what.experiment.seed,
        iteration=what.iteration,
        implementations=what.implementations,
    )


def _unplayed(what: Evaluation) -> Evaluation:
    """The same without its model, which whoever computes has a record of in its own store."""
    return replace(what, model=None)


def _compute(
    what: Evaluation, directory: Path, start: Started, model: ModelRecords, parts: Sequence[EvaluatedPart] = ()
) -> dict[str, float]:
    listed = what.episodes()
    played: Played
    if parts:
        played = {mode: [e for p in parts for e in _read(p.directory / f"{mode}.jsonl")] for mode in what.modes}
    else:
        played = replace(what, model=model).play_modes(loaded_model(start, what.experiment), listed)
    return what.write_results(directory, listed, played)


def _compute_part(
    what: Evaluation, only: range, directory: Path, start: Started, model: ModelRecords
) -> dict[str, float]:
    loaded = loaded_model(start, what.experiment)
    for mode, episodes in replace(what, model=model).play_modes(loaded, what.episodes(), only).items():
        (directory / f"{mode}.jsonl").write_text("".join(json.dumps(asdict(e)) + "\n" for e in episodes))
    return {}


def _dense_weights(loaded: LoadedModel, model: ModelRecords) -> Mapping[str, Tensor]:
    if model is None or isinstance(model, StageRecord):
        assert not isinstance(model, Updated), "an agent is played by its own weights"
        return loaded.teacher(model)
    deltas = [read_deltas(update.model_directory, loaded.start) for update in model]
    return dict(teacher_tensors(loaded.start, deltas, sma(len(deltas)), MergeConfig(method="linear")))


def _write(path: Path, listed: EpisodeSet, played: Sequence[Episode]) -> None:
    with path.open("w") as file:
        for deal, e in zip(listed.deals, played, strict=True):
            row = {
                "deal": deal,
                "won": e.won,
                "return": e.episode_return,
                "ended": e.ended,
                "texts": e.texts,
                "valid": e.valid,
                "legal": e.legal,
                "thoughts": e.thoughts,
            }
            file.write(json.dumps(row) + "\n")


def _read(path: Path) -> list[Episode]:
    """The episodes of a part."""
    return [_episode(json.loads(line)) for line in path.read_text().splitlines()]


def _episode(row: dict[str, Any]) -> Episode:
    fields: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in row.items()}
    return Episode(**fields)
