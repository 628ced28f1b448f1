"""`gtr run`: one experiment in this process, under the run's lock, with a Prefect API and the MLflow store at hand."""

from collections.abc import Sequence
from typing import Any

from rich.console import Console

from flows.experiment import MODELS, run_experiment
from flows.journal import Journal
from flows.runs import RECORD, Run, open_run, workspace
from flows.server import prefect_server
from gtr_core.agent.loading import pick_device
from gtr_core.compose import flatten, to_dict
from gtr_core.config import Experiment
from gtr_core.envs.check import check_env
from gtr_core.errors import UserError
from gtr_core.files import write_json
from gtr_core.guidance.corrector.chat import Chat
from gtr_core.locks import exclusive
from tasks.record import StageRecord
from tasks.registry import directory_sha256
from tasks.store import StageStore
from tasks.tracking import Tracker

console = Console(stderr=True)


def launch(
    experiment: Experiment, command: str, *, recompute_damaged: bool = False, show: bool = True
) -> dict[str, Any]:
    """Run or resume an experiment; its final record.

    Raises:
        UserError: a device that is not there, a damaged stage, a full disk.
    """
    pick_device(experiment.model.device)
    for number in range(len(experiment.env.practice)):
        check_env(experiment.env.id, experiment.env.training(number))
    check_env(experiment.env.id, experiment.env.kwargs)
    if experiment.guide == "corrector" and experiment.corrector.kind == "endpoint":
        Chat(experiment.corrector.endpoint)  # its URL and its key, before an hour is spent on rollouts
    run = open_run(experiment, workspace())
    console.print(f"run {run.key}", markup=False, highlight=False)

    def held(holder: str) -> None:
        console.print(f"The run {run.key} is held by {holder}: waiting for it.", markup=False, soft_wrap=True)

    with exclusive(run.directory / "run.lock", held), prefect_server(run.workspace):
        store = StageStore(run.workspace / "store", recompute_damaged=recompute_damaged)
        tracker = open_tracker(run)
        journal = Journal(run.directory)
        status = "FAILED"
        try:
            records = run_experiment(run, store, tracker)
            status = "FINISHED"
        except KeyboardInterrupt:
            status = "KILLED"
            raise
        except (UserError, ArithmeticError, RuntimeError, ValueError, OSError) as error:
            journal.write("failed", error=f"{type(error).__name__}: {error}".splitlines()[0])
            raise
        finally:
            tracker.finish(status)  # type: ignore[arg-type]
        record = final_record(run, tracker, records, command)
        write_json(run.directory / RECORD, record)
        journal.write("finished")
    if show:
        console.print(f"finished {run.key}: {run.directory / RECORD}", markup=False, soft_wrap=True)
    return record


def open_tracker(run: Run) -> Tracker:
    """The run's tracker, with the tags and parameters that make MLflow's own views useful."""
    experiment = run.experiment
    params = flatten(to_dict(experiment))
    for name in ("name", *(k for k in params if k.startswith(("execution.", "corrector.endpoint.")))):
        params.pop(name)
    tags = {"gtr.method": experiment.method, "gtr.seed": experiment.seed, "gtr.sweep": experiment.name}
    return Tracker(
        run.workspace,
        experiment=experiment.name,
        run_name=run.name,
        run_key=run.key,
        tags={k: str(v) for k, v in tags.items()},
        params=params,
    )


def final_record(run: Run, tracker: Tracker, records: Sequence[StageRecord], command: str) -> dict[str, Any]:
    """The run in one JSON object: its stages, its last metrics, its agent and its teacher."""
    metrics: dict[str, float] = {}
    for record in records:
        metrics |= record.metrics
    last: dict[str, StageRecord] = {MODELS[r.stage]: r for r in records if r.stage in MODELS}
    return {
        "run": run.key,
        "command": command,
        "name": run.name,
        "method": run.experiment.method,
        "seed": run.experiment.seed,
        "mlflow_run_id": tracker.run_id,
        "stages": [
            {"stage": r.stage, "iteration": r.iteration, "key": r.key, "state": r.state, "seconds": r.seconds}
            for r in records
        ],
        "metrics": metrics,
        **{kind: _model(record, kind, tracker) for kind, record in last.items()},
    }


def _model(record: StageRecord, kind: str, tracker: Tracker) -> dict[str, Any]:
    registered = tracker.registered(record)
    return {
        "uri": registered.uri if registered else None,
        "path": str(record.directory / kind),
        "sha256": directory_sha256(record, kind),
    }
