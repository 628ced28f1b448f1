"""The `gtr` command. Each command's work is in a file of its own; here are the words on the command line."""

import json
import logging
import shlex
import signal
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from flows.say import say
from gtr_core.util.errors import UserError

app = typer.Typer(
    name="gtr",
    help="Train vision-language agents by multi-turn RL, with the merge of their own checkpoints as a free teacher.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
Overrides = Annotated[list[str] | None, typer.Argument(help="Changes of the configuration as key=value, e.g. seed=2.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as one line of JSON at the end.")]
Pool = Annotated[str, typer.Option(help="Name of the Prefect work pool.")]
AcceptCode = Annotated[
    bool,
    typer.Option("--accept-code-change", help="Reuse results of older code, if nothing else differs; marks the run."),
]
Compared = Annotated[list[str], typer.Argument(help="The runs, by name or key, and the sweeps, by name or YAML file.")]
By = Annotated[
    list[str] | None,
    typer.Option(
        help="A configuration field to group runs by, e.g. merge.density; repeatable. Default: all that differ."
    ),
]
Env = Annotated[
    str | None,
    typer.Option(help="The environment: cards3, alfworld, a YAML file or a registered id. Default: the model's own."),
]
FinishedOnly = Annotated[bool, typer.Option("--finished", help="Leave out runs that have not finished, and name them.")]
MERGE = "ties, linear, slerp, task_arithmetic, dare_linear, dare_ties, breadcrumbs, della or model_stock"
console = Console(stderr=True)


@app.command()
def demo(
    overrides: Overrides = None,
    seeds: Annotated[int, typer.Option(min=1, help="Run each method with the seeds 1 to N.")] = 1,
    jobs: Annotated[int, typer.Option(min=1, help="How many runs are computed at once.")] = 3,
    as_json: AsJson = False,
) -> None:
    """Compare the methods ppo, turbo_sft and turbo_kl on this machine: no downloads, at most 15 minutes on 2 cores.

    Finished stages are kept: after an interruption, the same command goes on where it stopped.
    """
    from flows.sweeps.demo import run_demo

    result = run_demo(overrides or [], seeds=seeds, jobs=jobs)
    if as_json:
        print(json.dumps(result, sort_keys=True))


@app.command()
def run(
    config: Annotated[Path, typer.Argument(help="The experiment's YAML, e.g. configs/experiment/cards3_kl.yaml.")],
    overrides: Overrides = None,
    as_json: AsJson = False,
    recompute_damaged: Annotated[bool, typer.Option(help="Compute stages again whose files are damaged.")] = False,
    restore_freed: Annotated[
        bool, typer.Option(help="Compute everything again that `gtr gc` freed of the run.")
    ] = False,
    accept_code_change: AcceptCode = False,
) -> None:
    """Run an experiment, or resume it: stages that have finished are reused."""
    from gtr_core.config.loading import load_experiment

    experiment = load_experiment(config, overrides or [])  # mistakes show before anything heavy is imported
    _make_workspace()
    from flows.launch import launch
    from flows.runs.run import Origin

    accepting = ["--accept-code-change"] if accept_code_change else []
    command = shlex.join(["gtr", "run", str(config), *(overrides or []), *accepting])
    origin = Origin(accept_code_change=accept_code_change)
    record = launch(
        experiment,
        command,
        origin=origin,
        recompute_damaged=recompute_damaged,
        restore_freed=restore_freed,
        show=not as_json,
    )
    if as_json:
        print(json.dumps(record, sort_keys=True))


@app.command()
def fork(
    run: Annotated[str, typer.Argument(help="Name or key of the run to fork.")],
    at: Annotated[int, typer.Option(help="The last iteration that both runs share.")],
    overrides: Overrides = None,
    as_json: AsJson = False,
    accept_code_change: AcceptCode = False,
) -> None:
    """Start a new run that shares a run's iterations up to --at and goes on with a changed configuration."""
    _make_workspace()
    from flows.fork import fork as go_on

    record = go_on(run, at, overrides or [], accept_code_change=accept_code_change, show=not as_json)
    if as_json:
        print(json.dumps(record, sort_keys=True))


@app.command()
def sweep(
    file: Annotated[Path, typer.Argument(help="The sweep's YAML, e.g. configs/sweep/sft_vs_kl.yaml.")],
    overrides: Overrides = None,
    dry_run: Annotated[bool, typer.Option(help="Only print what would be computed, and the cost.")] = False,
    submit: Annotated[bool, typer.Option(help="Submit the runs to the work pool and return.")] = False,
    pool: Pool = "local",
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Runs computed at once. Default: one per GPU or core.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Run a sweep: every run (cell) of it that has not finished yet. The exit code is 1 when a run failed."""
    if dry_run:
        from flows.sweeps.estimate import dry_run as foresee

        result = foresee(file, overrides or [], jobs=jobs, as_json=as_json)
    elif submit:
        _make_workspace()
        from flows.sweeps.submit import submit_sweep

        result = submit_sweep(file, overrides or [], pool)
    else:
        _make_workspace()
        from flows.sweeps.run import run_sweep

        result = run_sweep(file, overrides or [], jobs=jobs)
    if as_json:
        print(json.dumps(result, sort_keys=True))
    failed = any(cell.get("state") == "failed" for cell in result["cells"])
    raise typer.Exit(1 if failed else 0)


@app.command()
def deploy(
    config: Annotated[Path | None, typer.Argument(help="An experiment's YAML. Default: submitted sweeps.")] = None,
    overrides: Overrides = None,
    pool: Pool = "local",
    name: Annotated[str | None, typer.Option(help="Name of the deployment. Default: the YAML file's name.")] = None,
    cron: Annotated[str | None, typer.Option(help="Cron schedule, e.g. '0 2 * * *' for 2:00 every day.")] = None,
    every_minutes: Annotated[float | None, typer.Option(min=1, help="Minutes between two runs.")] = None,
) -> None:
    """Create a Prefect deployment, and its work pool, for submitted sweeps or for one experiment on a schedule."""
    _make_workspace()
    from flows.deploy import deploy as make

    make(pool, config, overrides or [], name=name, cron=cron, every_minutes=every_minutes)


@app.command()
def worker(
    pool: Pool = "local",
    limit: Annotated[int, typer.Option(min=1, help="How many experiments run at once.")] = 1,
) -> None:
    """Start a worker that runs what is submitted to a work pool, until Ctrl-C."""
    _make_workspace()
    from flows.orchestration.worker import work

    raise typer.Exit(work(pool, limit))


@app.command()
def status(
    run: Annotated[str | None, typer.Argument(help="Name or key of a run. Default: all runs.")] = None,
    as_json: AsJson = False,
) -> None:
    """List all runs, or the stages of one run with their state (done, reused, running or failed) and seconds."""
    from flows.admin.status import show_status

    show_status(run, as_json=as_json)


@app.command(name="eval")
def evaluate(
    model: Annotated[
        str,
        typer.Argument(help="The model: a checkpoint directory, RUN, RUN:teacher, RUN:start or models:/NAME@ALIAS."),
    ],
    env: Env = None,
    split: Annotated[str, typer.Option(help="Deals to play: train, valid or test.")] = "test",
    episodes: Annotated[int, typer.Option(min=1, help="Number of episodes: the same in every call.")] = 200,
    sampled: Annotated[bool, typer.Option(help="Sample answers instead of taking the likeliest tokens.")] = False,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the sampling.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Evaluate a checkpoint, teacher or registered model on fixed episodes, with 95 % confidence intervals."""
    from flows.models.evaluate import evaluate_model

    figures = evaluate_model(model, env, split=split, episodes=episodes, greedy=not sampled, seed=seed)
    if as_json:
        print(json.dumps(figures, sort_keys=True))


@app.command()
def play(
    model: Annotated[str | None, typer.Argument(help="A model as in `gtr eval`, in place of --policy.")] = None,
    env: Env = None,
    policy: Annotated[str, typer.Option(help="Who plays: oracle, random, or a model as in `gtr eval`.")] = "oracle",
    split: Annotated[str | None, typer.Option(help="Deals to play: train, valid or test. Default: all.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the deal and of the sampling.")] = 0,
    greedy: Annotated[bool, typer.Option(help="Take the likeliest tokens instead of sampling.")] = False,
    out: Annotated[Path, typer.Option(help="The HTML file to write.")] = Path("episode.html"),
) -> None:
    """Play one episode and write it as an HTML page with its pictures, prompts, thoughts, actions and rewards."""
    from flows.models.play import play_page

    play_page(model or policy, env, split=split, seed=seed, greedy=greedy, out=out)


@app.command()
def merge(
    models: Annotated[list[str], typer.Argument(help="Models as in `gtr eval`, oldest first, trained from one start.")],
    method: Annotated[str, typer.Option(help=f"Merge method: {MERGE}.")] = "ties",
    density: Annotated[float, typer.Option(help="Share of a task vector's entries to keep, in (0, 1].")] = 0.8,
    weights: Annotated[str, typer.Option(help="The models' weights: sma, ema, ema:ALPHA or e.g. 1,1,2.")] = "sma",
    lam: Annotated[float, typer.Option(help="Factor of the merged task vector when it is added to the start.")] = 1.0,
    normalize: Annotated[bool, typer.Option(help="Divide the weighted sum by the sum of the weights.")] = True,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the random masks.")] = 0,
    out: Annotated[Path | None, typer.Option(help="A new directory to copy the merged checkpoint to.")] = None,
    start: Annotated[
        Path | None,
        typer.Option(
            help="The model that MODELS were trained from, where they are plain directories or peft adapters."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Merge the checkpoints of one start, without training, and register the result in MLflow."""
    from flows.models.merge import merge_models, merge_settings

    settings = merge_settings(method, density, weights, lam, normalize, len(models))
    record = merge_models(models, settings, seed=seed, out=out, start=start)
    if as_json:
        print(json.dumps(record, sort_keys=True))


@app.command()
def compare(
    runs: Compared,
    by: By = None,
    metric: Annotated[list[str] | None, typer.Option(help="Show this metric too, e.g. turns_mean; repeatable.")] = None,
    csv: Annotated[bool, typer.Option("--csv", help="Print comma-separated values.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print all tables as JSON.")] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown tables.")] = False,
    pairs: Annotated[bool, typer.Option(help="In CSV and Markdown, write only the paired differences.")] = False,
    finished: FinishedOnly = False,
    out: Annotated[Path | None, typer.Option(help="Write to this file; .csv, .json or .md decides the format.")] = None,
) -> None:
    """Compare finished runs in tables: means and 95 % intervals over seeds, paired differences, hours and cost."""
    from flows.reporting.compare import compare_runs

    formats = [name for name, wanted in (("csv", csv), ("json", as_json), ("markdown", markdown)) if wanted]
    compare_runs(runs, by=by or [], metrics=metric or [], formats=formats, pairs=pairs, finished_only=finished, out=out)


@app.command()
def report(
    runs: Compared,
    by: By = None,
    finished: FinishedOnly = False,
    out: Annotated[Path, typer.Option(help="The HTML file to write.")] = Path("report.html"),
) -> None:
    """Write one self-contained HTML page that compares finished runs: tables, curves, cost, families, episodes."""
    from flows.reporting.report import report_runs

    print(report_runs(runs, by=by or [], finished_only=finished, out=out))


@app.command()
def ui(
    port: Annotated[int, typer.Option(help="Port of MLflow on 127.0.0.1.")] = 5000,
) -> None:
    """Serve the web pages of MLflow and Prefect for this workspace on 127.0.0.1, until Ctrl-C."""
    from flows.admin.ui import serve

    serve(port)


@app.command()
def sync() -> None:
    """Deliver to MLflow what could not be delivered while its server was unreachable."""
    from flows.admin.sync import deliver_all

    deliver_all()


@app.command()
def gc(
    runs: Annotated[list[str] | None, typer.Argument(help="Runs that --keep applies to. Default: all.")] = None,
    keep: Annotated[str | None, typer.Option(help="Keep all, last, every or best. Default: the run's policy.")] = None,
    n: Annotated[int, typer.Option(min=1, help="Keep the last N iterations, every N-th one, or the best N.")] = 1,
    yes: Annotated[bool, typer.Option("--yes", help="Delete the files. Without it they are only listed.")] = False,
    as_json: AsJson = False,
) -> None:
    """Free disk space: delete the weights and rollouts that no alias, retention policy or unfinished run needs."""
    from flows.admin.gc import collect_garbage

    result = collect_garbage(runs or [], keep, n, free=yes, show=not as_json)
    if as_json:
        print(json.dumps(result, sort_keys=True))


@app.command()
def doctor(as_json: AsJson = False) -> None:
    """Check the installation, devices, servers and disk space, and report what is wrong."""
    from flows.admin.doctor import examine

    healthy = examine(as_json=as_json)
    raise typer.Exit(0 if healthy else 1)


alfworld = typer.Typer(help="Get household games: download ALFWorld's own, or generate games of the same kind.")
app.add_typer(alfworld, name="alfworld", no_args_is_help=True)


@alfworld.command()
def download(
    out: Annotated[Path | None, typer.Option(help="The folder. Default: $ALFWORLD_DATA or ~/.cache/alfworld.")] = None,
) -> None:
    """Download ALFWorld's games with its own downloader, and check the files."""
    from flows.admin.alfworld import download_games

    download_games(out)


@alfworld.command()
def generate(
    out: Annotated[Path, typer.Option(help="The folder to write to; games that are there already are kept.")],
    n: Annotated[int, typer.Option(min=1, help="Number of games in all, over the splits and task types.")] = 200,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the games: the same seed gives the same files.")] = 0,
    verify: Annotated[bool, typer.Option(help="Prove with the planner that each game can be won.")] = True,
    jobs: Annotated[int, typer.Option(min=1, help="Number of processes.")] = 1,
) -> None:
    """Generate household games of six task types in rooms of ALFWorld's floor plans; no two splits share a room."""
    from flows.admin.alfworld import generate_games

    generate_games(out, n=n, seed=seed, verify=verify, jobs=jobs)


def _make_workspace() -> None:
    """Prefect looks for it when it is imported."""
    from flows.runs.run import workspace

    workspace().mkdir(parents=True, exist_ok=True)


def main() -> None:
    """Entry point: a user's mistake is one sentence and exit code 2; Ctrl-C, and SIGTERM likewise, is 130."""
    from flows.orchestration.processes import obey_parent
    from flows.runs.run import workspace
    from tasks.execution.environment import quiet_environment

    signal.signal(signal.SIGTERM, signal.default_int_handler)
    obey_parent()
    quiet_environment(workspace())
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s", stream=sys.stderr)
    try:
        app()
    except UserError as error:
        say(f"gtr: {error}", style="red")
        sys.exit(2)
    except BaseException as error:
        if not _interrupted(error):
            raise
        say("Stopped. The same command goes on from here; finished stages are kept.")
        sys.exit(130)


def _interrupted(error: BaseException | None) -> bool:
    """Whether Ctrl-C is what happened; a library that was amid something may have made another error of it."""
    return error is not None and (isinstance(error, KeyboardInterrupt) or _interrupted(error.__context__))


if __name__ == "__main__":
    main()
