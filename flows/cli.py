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

from gtr_core.util.errors import UserError

app = typer.Typer(
    name="gtr",
    help="Train vision-language agents by multi-turn RL, with the merge of their own checkpoints as a free teacher.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
Overrides = Annotated[list[str] | None, typer.Argument(help="key=value changes of the configuration, e.g. seed=2.")]
AsJson = Annotated[bool, typer.Option("--json", help="End with one line of JSON.")]
Pool = Annotated[str, typer.Option(help="A Prefect work pool.")]
AcceptCode = Annotated[
    bool,
    typer.Option("--accept-code-change", help="Take finished results that only older code sets apart; marks the run."),
]
Compared = Annotated[list[str], typer.Argument(help="Runs by name or key, sweeps by name or YAML.")]
By = Annotated[
    list[str] | None,
    typer.Option(help="A field that tells rows apart, e.g. merge.density; repeatable. Default: what differs."),
]
FinishedOnly = Annotated[bool, typer.Option("--finished", help="Leave out what has not finished, and say what.")]
console = Console(stderr=True)


@app.command()
def demo(
    overrides: Overrides = None,
    seeds: Annotated[int, typer.Option(min=1, help="Seeds 1 to N of each arm.")] = 1,
    jobs: Annotated[int, typer.Option(min=1, help="Arms run at once.")] = 3,
    as_json: AsJson = False,
) -> None:
    """Compare ppo, turbo_sft and turbo_kl on this machine: no downloads, no server, at most 15 minutes on 2 cores.

    Run again, it reuses every finished stage; killed, it goes on where it was.
    """
    from flows.sweeps.demo import run_demo

    result = run_demo(overrides or [], seeds=seeds, jobs=jobs)
    if as_json:
        print(json.dumps(result, sort_keys=True))


@app.command()
def run(
    config: Annotated[Path, typer.Argument(help="An experiment's YAML, e.g. configs/experiment/cards3_kl.yaml.")],
    overrides: Overrides = None,
    as_json: AsJson = False,
    recompute_damaged: Annotated[bool, typer.Option(help="Set damaged stages aside and compute them again.")] = False,
    restore_freed: Annotated[bool, typer.Option(help="Compute again all of it that `gtr gc` freed.")] = False,
    accept_code_change: AcceptCode = False,
) -> None:
    """Run one experiment, or resume it: finished stages are reused."""
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
    run: Annotated[str, typer.Argument(help="The run's name or key.")],
    at: Annotated[int, typer.Option(help="The last iteration that both share.")],
    overrides: Overrides = None,
    as_json: AsJson = False,
    accept_code_change: AcceptCode = False,
) -> None:
    """Start a run that shares a run's history up to an iteration and goes on with another configuration."""
    _make_workspace()
    from flows.fork import fork as go_on

    record = go_on(run, at, overrides or [], accept_code_change=accept_code_change, show=not as_json)
    if as_json:
        print(json.dumps(record, sort_keys=True))


@app.command()
def sweep(
    file: Annotated[Path, typer.Argument(help="A sweep's YAML, e.g. configs/sweep/sft_vs_kl.yaml.")],
    overrides: Overrides = None,
    dry_run: Annotated[bool, typer.Option(help="Only say what would be computed and what it would cost.")] = False,
    submit: Annotated[bool, typer.Option(help="Submit the cells to a work pool and return.")] = False,
    pool: Pool = "local",
    jobs: Annotated[int | None, typer.Option(min=1, help="Cells run at once; default: one a GPU, or a core.")] = None,
    as_json: AsJson = False,
) -> None:
    """Run every cell of a sweep; again, only what is missing or failed. Exit code 1 when a cell failed."""
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
    config: Annotated[Path | None, typer.Argument(help="An experiment's YAML; default: what is submitted.")] = None,
    overrides: Overrides = None,
    pool: Pool = "local",
    name: Annotated[str | None, typer.Option(help="Of the deployment; default: the YAML's.")] = None,
    cron: Annotated[str | None, typer.Option(help="When to run it, e.g. '0 2 * * *'.")] = None,
    every_minutes: Annotated[float | None, typer.Option(min=1, help="Run it at this interval.")] = None,
) -> None:
    """Make a work pool, if need be, and a deployment in it: for submitted sweeps, or one experiment on a schedule."""
    _make_workspace()
    from flows.deploy import deploy as make

    make(pool, config, overrides or [], name=name, cron=cron, every_minutes=every_minutes)


@app.command()
def worker(
    pool: Pool = "local",
    limit: Annotated[int, typer.Option(min=1, help="Experiments run at once.")] = 1,
) -> None:
    """Run what is submitted to a work pool, until Ctrl-C."""
    _make_workspace()
    from flows.orchestration.worker import work

    raise typer.Exit(work(pool, limit))


@app.command()
def status(
    run: Annotated[str | None, typer.Argument(help="A run's name or key; without it, all runs.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show runs, or one run's stages: done, reused, running, failed, and the seconds they took."""
    from flows.admin.status import show_status

    show_status(run, as_json=as_json)


@app.command(name="eval")
def evaluate(
    model: Annotated[
        str,
        typer.Argument(help="A checkpoint directory, RUN, RUN:teacher, RUN:start or models:/NAME@ALIAS."),
    ],
    env: Annotated[str | None, typer.Option(help="cards3, an env YAML or a registered id; default: its own.")] = None,
    split: Annotated[str, typer.Option(help="train, valid or test.")] = "test",
    episodes: Annotated[int, typer.Option(min=1, help="How many fixed episodes.")] = 200,
    sampled: Annotated[bool, typer.Option(help="Draw answers instead of taking the likeliest.")] = False,
    seed: Annotated[int, typer.Option(min=0, help="Of the draws.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Play fixed episodes with any checkpoint, teacher or registered model, and report with 95 % intervals."""
    from flows.models.evaluate import evaluate_model

    figures = evaluate_model(model, env, split=split, episodes=episodes, greedy=not sampled, seed=seed)
    if as_json:
        print(json.dumps(figures, sort_keys=True))


@app.command()
def play(
    model: Annotated[str | None, typer.Argument(help="A model as `gtr eval` takes it; the same as --policy.")] = None,
    env: Annotated[str | None, typer.Option(help="cards3, an env YAML or a registered id; default: its own.")] = None,
    policy: Annotated[str, typer.Option(help="oracle, random, or a model.")] = "oracle",
    split: Annotated[str | None, typer.Option(help="train, valid or test; default: all deals.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the deal and the draws.")] = 0,
    greedy: Annotated[bool, typer.Option(help="A model takes its likeliest token each time.")] = False,
    out: Annotated[Path, typer.Option(help="The page to write.")] = Path("episode.html"),
) -> None:
    """Play one episode and write it as an HTML page: frames, prompts, thoughts, actions and rewards."""
    from flows.models.play import play_page

    play_page(model or policy, env, split=split, seed=seed, greedy=greedy, out=out)


@app.command()
def merge(
    models: Annotated[list[str], typer.Argument(help="Models as `gtr eval` takes them, oldest first, of one start.")],
    method: Annotated[str, typer.Option(help="ties, linear, slerp, task_arithmetic, dare_ties, ...")] = "ties",
    density: Annotated[float, typer.Option(help="Share of entries kept.")] = 0.8,
    weights: Annotated[str, typer.Option(help="sma, ema, ema:ALPHA, or numbers as 1,1,2.")] = "sma",
    lam: Annotated[float, typer.Option(help="Merged = start + lam x merged task vector.")] = 1.0,
    normalize: Annotated[bool, typer.Option(help="Divide by the weights.")] = True,
    seed: Annotated[int, typer.Option(min=0, help="Of random masks.")] = 0,
    out: Annotated[Path | None, typer.Option(help="A directory to put the merged checkpoint in as well.")] = None,
    start: Annotated[
        Path | None, typer.Option(help="The model that MODELS, plain directories or peft adapters, were made from.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Merge checkpoints without training, and register the result in MLflow."""
    from flows.models.merge import merge_models, merge_settings

    settings = merge_settings(method, density, weights, lam, normalize, len(models))
    record = merge_models(models, settings, seed=seed, out=out, start=start)
    if as_json:
        print(json.dumps(record, sort_keys=True))


@app.command()
def compare(
    runs: Compared,
    by: By = None,
    metric: Annotated[list[str] | None, typer.Option(help="A further figure, e.g. turns_mean; repeatable.")] = None,
    csv: Annotated[bool, typer.Option("--csv", help="Comma-separated values.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="All tables as JSON.")] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Markdown tables.")] = False,
    pairs: Annotated[bool, typer.Option(help="In csv and markdown: the differences between arms alone.")] = False,
    finished: FinishedOnly = False,
    out: Annotated[Path | None, typer.Option(help="A file: .csv, .json or .md.")] = None,
) -> None:
    """Compare finished runs: mean, deviation and 95 % interval over seeds, paired differences, hours and money."""
    from flows.reporting.compare import compare_runs

    formats = [name for name, wanted in (("csv", csv), ("json", as_json), ("markdown", markdown)) if wanted]
    compare_runs(runs, by=by or [], metrics=metric or [], formats=formats, pairs=pairs, finished_only=finished, out=out)


@app.command()
def report(
    runs: Compared,
    by: By = None,
    finished: FinishedOnly = False,
    out: Annotated[Path, typer.Option(help="The page to write.")] = Path("report.html"),
) -> None:
    """Write one self-contained HTML page that compares finished runs: tables, curves, cost, families, episodes."""
    from flows.reporting.report import report_runs

    print(report_runs(runs, by=by or [], finished_only=finished, out=out))


@app.command()
def ui(
    port: Annotated[int, typer.Option(help="MLflow's port on 127.0.0.1.")] = 5000,
) -> None:
    """Serve the MLflow and Prefect UIs of this workspace on loopback until Ctrl-C."""
    from flows.admin.ui import serve

    serve(port)


@app.command()
def sync() -> None:
    """Deliver to MLflow what could not be delivered while its server was away."""
    from flows.admin.sync import deliver_all

    deliver_all()


@app.command()
def gc(
    runs: Annotated[list[str] | None, typer.Argument(help="Runs that --keep and --n are for; default: all.")] = None,
    keep: Annotated[str | None, typer.Option(help="all, last, every or best; default: each run's retention.")] = None,
    n: Annotated[int, typer.Option(min=1, help="Of last, every or best.")] = 1,
    yes: Annotated[bool, typer.Option("--yes", help="Free it; without this only list it.")] = False,
    as_json: AsJson = False,
) -> None:
    """Free tensors of checkpoints, teachers and rollouts that no alias, policy or unfinished run needs."""
    from flows.admin.gc import collect

    result = collect(runs or [], keep, n, free=yes, show=not as_json)
    if as_json:
        print(json.dumps(result, sort_keys=True))


@app.command()
def doctor(as_json: AsJson = False) -> None:
    """Say what is installed, which devices, servers and disk there are, and what is wrong with them."""
    from flows.admin.doctor import examine

    healthy = examine(as_json=as_json)
    raise typer.Exit(0 if healthy else 1)


alfworld = typer.Typer(help="Household games: fetch ALFWorld's own, or generate games of the same kind.")
app.add_typer(alfworld, name="alfworld", no_args_is_help=True)


@alfworld.command()
def download(
    out: Annotated[Path | None, typer.Option(help="Folder; default: ALFWORLD_DATA, else ~/.cache/alfworld.")] = None,
) -> None:
    """Fetch ALFWorld's own games by its own downloader, and check what arrived."""
    from flows.admin.alfworld import download_games

    download_games(out)


@alfworld.command()
def generate(
    out: Annotated[Path, typer.Option(help="Folder to write to; what an earlier call wrote there is kept.")],
    n: Annotated[int, typer.Option(min=1, help="Games in all, spread over splits and task types.")] = 200,
    seed: Annotated[int, typer.Option(min=0, help="The same seed writes the same bytes.")] = 0,
    verify: Annotated[bool, typer.Option(help="Have the planner prove each game winnable.")] = True,
    jobs: Annotated[int, typer.Option(min=1, help="Processes.")] = 1,
) -> None:
    """Write household games: rooms of ALFWorld's floor plans, six task types, disjoint rooms a split."""
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
        console.print(f"gtr: {error}", style="red", markup=False, highlight=False, soft_wrap=True)
        sys.exit(2)
    except BaseException as error:
        if not _interrupted(error):
            raise
        console.print("Stopped. The same command goes on from here; finished stages are kept.", markup=False)
        sys.exit(130)


def _interrupted(error: BaseException | None) -> bool:
    """Whether Ctrl-C is what happened; a library that was amid something may have made another error of it."""
    return error is not None and (isinstance(error, KeyboardInterrupt) or _interrupted(error.__context__))


if __name__ == "__main__":
    main()
