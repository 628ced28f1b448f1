"""Stage `evaluate`: agent, teacher, start or plain mean on the same fixed episodes."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor

from gtr_core.config import Experiment, MergeConfig
from gtr_core.config.loading import to_dict
from gtr_core.envs.episodes import EpisodeSet, episode_set
from gtr_core.evaluation.metrics import summarise
from gtr_core.evaluation.play import Episode, play
from gtr_core.merge import read_deltas, sma, teacher_tensors
from gtr_core.rollout.shards import shards
from tasks.stages.model_cache import Workbench, workbench
from tasks.store.contents import environment_modules, evaluation_settings, model_settings
from tasks.store.fingerprint import code_files, code_version
from tasks.store.record import Part, StageRecord
from tasks.store.stage import run_stage
from tasks.store.store import StageStore

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
Model = StageRecord | Sequence[StageRecord] | None
Played = Mapping[str, list[Episode]]  # by mode


@dataclass(frozen=True)
class Evaluation:
    """Who plays what."""

    experiment: Experiment
    iteration: int  # of the model; 0 for the start
    who: str  # `agent`, `teacher`, `start`, `mean` or `best`; the prefix of the metrics
    model: Model  # the update or merge that made it; None: the start; several updates: their mean
    split: str  # `valid` for a point of the curves (greedy), `test` for the final table (greedy and sampled)

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

    def play(self, bench: Workbench, listed: EpisodeSet, only: range | None = None) -> Played:
        """The episodes, or some of them, played in each mode."""
        dense = self.who in ("teacher", "mean")
        policy = bench.agent(None if dense or not isinstance(self.model, StageRecord) else self.model)
        weights = _dense_weights(bench, self.model) if dense else {}
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

    def publish(self, directory: Path, listed: EpisodeSet, played: Played) -> dict[str, float]:
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


def evaluate(store: StageStore, start: StageRecord, what: Evaluation) -> StageRecord:
    """Play the fixed episodes of a split."""

    def compute(directory: Path, *parts: StageRecord) -> dict[str, float]:
        listed = what.episodes()
        played: Played
        if parts:
            played = {mode: [e for p in parts for e in _read(p.directory / f"{mode}.jsonl")] for mode in what.modes}
        else:
            played = what.play(workbench(start, what.experiment), listed)
        return what.publish(directory, listed, played)

    return _stage("evaluate", store, start, what, what.settings(), compute, evaluate_parts(store, start, what))


def evaluate_parts(store: StageStore, start: StageRecord, what: Evaluation) -> list[Part]:
    """The stages that `evaluate` joins, a call each, which may come in any order and in any process; none if undivided.

    What they play does not depend on how many there are.
    """
    config = what.experiment
    ranges = shards(what.count, config.rollout.batch_size, config.execution.shards)
    return [partial(_part, store, start, what, only) for only in ranges] if len(ranges) > 1 else []


def _part(store: StageStore, start: StageRecord, what: Evaluation, only: range) -> StageRecord:
    def compute(directory: Path) -> dict[str, float]:
        model = what.model
        if model is not None:
            model = store.here(model) if isinstance(model, StageRecord) else [store.here(m) for m in model]
        bench = workbench(store.here(start), what.experiment)
        for mode, episodes in replace(what, model=model).play(bench, what.episodes(), only).items():
            (directory / f"{mode}.jsonl").write_text("".join(json.dumps(asdict(e)) + "\n" for e in episodes))
        return {}

    settings = what.settings() | {"first": only.start, "count": len(only)}
    return _stage("evaluate_part", store, start, what, settings, compute, ())


def _stage(
    stage: str,
    store: StageStore,
    start: StageRecord,
    what: Evaluation,
    settings: Mapping[str, object],
    compute: Callable[..., Mapping[str, float]],
    parts: Sequence[Part],
) -> StageRecord:
    return run_stage(
        store,
        stage=stage,
        iteration=what.iteration,
        inputs={"start": start, "model": what.model},
        config=settings,
        code=code_version(__name__, *environment_modules(what.experiment.env)),
        sources=code_files(__name__, *environment_modules(what.experiment.env)),
        seed=what.experiment.seed,
        compute=compute,
        parts=parts,
    )


def _dense_weights(bench: Workbench, model: Model) -> Mapping[str, Tensor]:
    if model is None or isinstance(model, StageRecord):
        return bench.teacher(model)
    deltas = [read_deltas(update.directory / "agent", bench.start) for update in model]
    return dict(teacher_tensors(bench.start, deltas, sma(len(deltas)), MergeConfig(method="linear")))


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
