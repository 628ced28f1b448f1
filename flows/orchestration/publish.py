"""What MLflow is told of a finished stage: its figures, its model with its family, how the model did."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from flows.reporting.spending import spending
from flows.runs.run import Run
from gtr_core.util.files import read_json, write_json
from tasks.store.record import ModelKind, StageRecord
from tasks.store.results import Evaluated, Started, Updated
from tasks.store.store import MANIFEST
from tasks.tracking.dataset import EvaluationSet
from tasks.tracking.episode_samples import CHOSEN, sampled_episodes, write_samples
from tasks.tracking.mlmodel import EXAMPLE, input_example
from tasks.tracking.tracker import Tracker


def publish_stage(tracker: Tracker, run: Run, record: StageRecord, records: Sequence[StageRecord]) -> None:
    """Deliver a stage's record; `records` are the run's so far, this one included."""
    by_key = {r.key: r for r in records}
    if isinstance(record, Started):  # what a checkpoint needs to be loaded by those who lack this workspace
        name = f"gtr-start-{run.experiment.name}"
        tracker.register_model(record, kind="start", name=name, directory=record.directory, example=_example(run))
    elif record.model is not None:
        _register(tracker, run, record, record.model, by_key)
    if not isinstance(record, Evaluated):
        tracker.deliver(record, also=[spending(run, records)] if isinstance(record, Updated) else [])
        return
    on = EvaluationSet.read(record)
    evaluated = _evaluated(record, by_key)
    tracker.deliver(record, evaluates=evaluated, on=on)
    if run.experiment.tracking.episodes:
        _show_episodes(tracker, run, record, on)
    if evaluated is not None and evaluated.model is not None and on.context == "validation":
        success = record.metrics[f"{evaluated.model}/success_rate"]
        step = int(evaluated.metrics["env_steps"])
        tracker.score(record, evaluated=evaluated, on=on, success=success, step=step)


def _evaluated(record: StageRecord, by_key: Mapping[str, StageRecord]) -> StageRecord | None:
    """The stage whose model was played: one that is named, or the candidate that validation chose."""
    if CHOSEN not in record.metrics:
        return by_key.get(str(record.inputs.get("model")))
    candidates = (by_key[key] for key in record.inputs["candidates"])
    return next(r for r in candidates if r.iteration == record.metrics[CHOSEN])


def _register(
    tracker: Tracker, run: Run, record: StageRecord, kind: ModelKind, by_key: Mapping[str, StageRecord]
) -> None:
    experiment = run.at(record.iteration or 1)
    tags = {"gtr.method": experiment.method, "gtr.seed": str(experiment.seed)}
    if kind == "teacher":
        merge = experiment.merge
        tags |= {"gtr.merge": merge.method, "gtr.density": str(merge.density), "gtr.mode": merge.mode}
        tags |= {"gtr.weighting": merge.weights, "gtr.window": str(merge.window or "all")}
        weights = read_json(record.directory / MANIFEST)["config"]["weights"]
        tags["gtr.weights"] = ",".join(f"{weight:.6g}" for weight in weights)
    else:
        tags["gtr.rollouts"] = ",".join(_trained_on(record, by_key))
    tracker.register_model(
        record,
        kind=kind,
        name=f"gtr-{kind}-{run.experiment.name}",
        directory=record.model_directory,
        step=int(record.metrics["env_steps"]),
        tags=tags,
        members=record.inputs.get("members", ()),
        parent=str(record.inputs.get("previous", record.inputs["start"])) if kind == "agent" else "",
        example=_example(run),
    )


def _show_episodes(tracker: Tracker, run: Run, record: StageRecord, on: EvaluationSet) -> None:
    """The first episodes of an evaluation, as artifacts that are made once.

    `episodes/<who>.html` and `.csv` of the final ones, `episodes/<who>-<iteration>.html` and `.csv` of those before.
    """
    who = str(read_json(record.directory / MANIFEST)["config"]["who"])
    name = who if on.context == "test" else f"{who}-{record.iteration or 0}"
    folder = run.directory / "episodes"
    if not (folder / f"{name}.csv").exists():
        played = sampled_episodes(record, run.experiment.tracking.episodes)
        write_samples(played, f"{run.name}: {name}", folder, name)
    tracker.log_artifacts(folder / f"{name}.html", folder / f"{name}.csv", under="episodes")
    if run.experiment.tracking.traces:
        tracker.log_traces(folder / f"{name}.csv", f"{run.key}:{name}")


def _trained_on(record: StageRecord, by_key: Mapping[str, StageRecord]) -> list[str]:
    """Keys of the rollouts behind an update: its own, and those that its guidance was made from."""
    guides = (by_key[key] for key in record.inputs.get("guides", ()))
    return list(dict.fromkeys([*(str(guide.inputs["rollout"]) for guide in guides), str(record.inputs["rollout"])]))


def _example(run: Run) -> Path:
    """The run's input example, made once."""
    path = run.directory / EXAMPLE
    if not path.exists():
        write_json(path, input_example(run.experiment.env))
    return path
