"""`gtr run`: one experiment in this process, under the run's lock, with a Prefect API and the MLflow store at hand."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from omegaconf import OmegaConf
from rich.console import Console

from flows.experiment import plan
from flows.orchestration.executor import run_experiment
from flows.orchestration.server import prefect_server
from flows.orchestration.task_runners import task_runner
from flows.runs.events import Journal
from flows.runs.run import PLAIN, RECORD, Origin, Run, gc_lock, open_run, open_store, read_sweeps, run_of, workspace
from flows.runs.warnings import warnings_of
from flows.say import say
from gtr_core.agent.loading import pick_device
from gtr_core.config import NOT_DECIDING, Experiment
from gtr_core.config.loading import flatten, to_dict
from gtr_core.envs.check import check_env
from gtr_core.envs.practice import training_arguments
from gtr_core.guidance.base import guidance_of
from gtr_core.util.files import room_for, write_json
from gtr_core.util.locks import exclusive
from tasks.execution.slots import slots_of
from tasks.store.record import StageRecord
from tasks.store.results import Merged, Updated
from tasks.store.retention import reads
from tasks.tracking.model_files import directory_sha256
from tasks.tracking.provenance import provenance, provenance_tags
from tasks.tracking.tracker import Tracker

console = Console(stderr=True)


def launch(
    experiment: Experiment,
    command: str,
    *,
    origin: Origin = PLAIN,
    recompute_damaged: bool = False,
    restore_freed: bool = False,
    show: bool = True,
) -> dict[str, Any]:
    """Run or resume an experiment; its final record.

    Stages whose tensors `gtr gc` freed are computed again where a stage that is still to be computed reads them, and
    all of them with `restore_freed`.

    Raises:
        UserError: a device or a task runner that is not there, a damaged stage, a full disk.
    """
    device = pick_device(experiment.model.device)
    task_runner(experiment.execution)  # its extra
    for number in range(len(experiment.env.practice)):
        check_env(experiment.env.id, training_arguments(experiment.env, number))
    check_env(experiment.env.id, experiment.env.kwargs)
    guidance = guidance_of(experiment)
    if guidance is not None:
        guidance.check()  # before an hour is spent on rollouts
    with exclusive(gc_lock(workspace())):
        run, stages = _planned(experiment, origin)
    slots = slots_of(experiment.execution.slots, str(device), run.workspace, run.key)
    say(f"run {run.key}")

    def held(holder: str) -> None:
        say(f"The run {run.key} is held by {holder}: waiting for it.")

    lock = run.directory / "run.lock"
    with room_for(run.workspace), exclusive(lock, held), prefect_server(run.workspace):
        store = open_store(
            run,
            recompute_damaged=recompute_damaged,
            restore=_to_restore(run, everything=restore_freed),
        )
        facts = provenance(device)
        tracker = open_tracker(run, provenance_tags(facts))
        log_provenance(run, tracker, facts)
        journal = Journal(run.directory)
        status = "KILLED"  # by Ctrl-C, or by a worker that cancels
        try:
            records = run_experiment(run, store, slots, tracker, stages)
            status = "FINISHED"
        except Exception as error:
            status = "FAILED"
            journal.write("failed", error=f"{type(error).__name__}: {error}".splitlines()[0])
            raise
        finally:
            tracker.finish(status)  # type: ignore[arg-type]
        record = final_record(run, tracker, records, command)
        write_json(run.directory / RECORD, record)
        journal.write("finished")
    if show:
        say(f"finished {run.key}: {run.directory / RECORD}")
    return record


def _planned(experiment: Experiment, origin: Origin) -> tuple[Run, list[str]]:
    """The run and its stages' names; results of older code make it another run, if there are any to be taken."""
    home = workspace()
    plain = run_of(experiment, home, replace(origin, accept_code_change=False))
    today = plan(plain, open_store(plain))
    if origin.accept_code_change:
        run = run_of(experiment, home, origin)
        taken = plan(run, open_store(run))
        older = [name for name in taken if taken[name].state == "reused" and taken[name].key != today[name].key]
        if older:
            say(f"Taking the results of older code for {', '.join(older)}.")
        else:
            say("No result of older code is needed.")
            origin = replace(origin, accept_code_change=False)
    return open_run(experiment, home, origin), list(today)


def _to_restore(run: Run, *, everything: bool) -> set[str]:
    """Keys of the freed stages to compute again: all of the run's, or those that what is to be computed reads."""
    store = open_store(run)
    stages = plan(run, store).values()
    return {r.key for r in stages if store.freed(r)} if everything else reads(stages, store.freed)[1]


def log_provenance(run: Run, tracker: Tracker, facts: Mapping[str, Any]) -> None:
    """What the run is made of and with, as its artifacts: `config.yaml`, whole, and `environment.json`."""
    config, environment = run.directory / "config.yaml", run.directory / "environment.json"
    config.write_text(OmegaConf.to_yaml(OmegaConf.create(to_dict(run.experiment))))
    write_json(environment, facts)
    tracker.log_artifacts(config, environment)


def open_tracker(run: Run, facts: Mapping[str, str] | None = None, *, running: bool = True) -> Tracker:
    """The run's tracker, with the tags (`facts` among them) and parameters that make MLflow's own views useful.

    `gtr.sweep` is the sweep that ran it last (without one, the experiment's name); `gtr.sweep.<name>` is there for each
    sweep that the run is a cell of, and tells which.
    """
    experiment, origin, sweeps = run.experiment, run.origin, read_sweeps(run)
    how = ("name", *(f"{path}." for path in NOT_DECIDING))
    params = {key: value for key, value in flatten(to_dict(experiment)).items() if not key.startswith(how)}
    tags = {"gtr.method": experiment.method, "gtr.seed": experiment.seed}
    tags["gtr.sweep"] = next(reversed(sweeps), experiment.name)
    tags |= {f"gtr.sweep.{name}": cell for name, cell in sweeps.items()}
    if origin.history:
        tags |= {"gtr.forked_from": origin.parent, "gtr.forked_at": origin.history[-1][0]}
    if origin.accept_code_change:
        tags["gtr.accepted_code_change"] = "true"
    return Tracker(
        run.workspace,
        experiment=experiment.name,
        run_name=_shown_name(run),
        run_key=run.key,
        tags={k: str(v) for k, v in tags.items()} | dict(facts or {}),
        params=params,
        running=running,
    )


def _shown_name(run: Run) -> str:
    """In MLflow: the run's name, and what sets a sweep's cell apart besides (`cards3-turbo_kl-s1 ties density=0.4`)."""
    sweeps = read_sweeps(run)
    label = sweeps[next(reversed(sweeps))] if sweeps else ""
    known = run.name.split("-")
    return " ".join([run.name, *(word for word in label.split() if word not in known)])


def final_record(run: Run, tracker: Tracker, records: Sequence[StageRecord], command: str) -> dict[str, Any]:
    """The run in one JSON object: its stages, its last metrics, its agent and its teacher."""
    metrics: dict[str, float] = {}
    for record in records:
        metrics |= record.metrics
    last = {r.model: r for r in records if isinstance(r, Updated | Merged)}
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
        "warnings": [asdict(warning) for warning in warnings_of(records, run.experiment)],
        **{kind: _model(record, tracker) for kind, record in last.items()},
    }


def _model(record: Updated | Merged, tracker: Tracker) -> dict[str, Any]:
    registered = tracker.registered(record)
    return {
        "uri": registered.uri if registered else None,
        "path": str(record.model_directory),
        "sha256": directory_sha256(record, record.model_directory.name),
    }
