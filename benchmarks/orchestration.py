"""What orchestration costs beside the computing: start-up, seconds a stage, bytes in Prefect's database.

    python benchmarks/orchestration.py                       # about three minutes
    python benchmarks/orchestration.py --of .gtr             # of the runs of a workspace, as their journals tell it

Seconds are by the wall clock: a busy machine shows in them, so the load is printed first. A trivial stage goes the
whole way of a real one (key, lock, publishing with fsync, Prefect task) but for MLflow, whose share is in a real run's.
"""

import argparse
import json
import os
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
TARGET_S, TARGET_SHARE = 0.3, 0.02
SMALL = ["warm_start.steps=12", "warm_start.stop_at=12", "warm_start.turns=280", "warm_start.critic_turns=32"]
SMALL += ["rollout.envs=8", "rollout.turns=4", "evaluation.every=1", "evaluation.episodes=6"]
SMALL += ["evaluation.curve_episodes=6", "iterations=4"]
FLOW = """
import json, sys, time
from contextlib import nullcontext
from pathlib import Path
from tasks.execution.environment import quiet_environment
home, api, count = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
quiet_environment(home)
began = time.perf_counter()
from prefect import flow
from functools import partial
from flows.orchestration.server import prefect_server
from flows.orchestration.stage_task import shown
from tasks.execution.compute import find_or_compute
from tasks.store.record import StageRecord
from tasks.store.stage import Stage
from tasks.store.store import StageStore
class Trivial(StageRecord):
    kind = "trivial"
def nothing(directory):
    return {}
nothing.__module__ = "tasks.stages.warm_start"  # as much code to fingerprint as a real stage has
imported = time.perf_counter()
with prefect_server(home) if api == "workspace" else nullcontext():
    served = time.perf_counter()
    store, times = StageStore(home / "store"), []
    @flow(validate_parameters=False, persist_result=False)
    def experiment():
        times.append(time.perf_counter())
        for k in range(count):
            stage = Stage(Trivial, nothing, inputs={}, config={}, seed=0, iteration=k)
            shown(stage, partial(find_or_compute, store, stage))
            times.append(time.perf_counter())
    experiment()
print(json.dumps({"import": imported - began, "server": served - imported, "flow": times[0] - served,
                  "end": time.perf_counter() - times[-1], "stages": [b - a for a, b in zip(times, times[1:])]}))
"""


def environment(home: Path) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT_", "MLFLOW_", "GTR_"))}
    return kept | {"GTR_HOME": str(home), "OMP_NUM_THREADS": "1"}


def output(home: Path, *command: str) -> tuple[str, float]:
    """What a command of this interpreter prints, and the seconds it takes."""
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, *command], env=environment(home), cwd=ROOT, check=False, capture_output=True, text=True
    )
    if done.returncode:  # what Prefect says in passing when its ephemeral server ends is not of interest
        sys.exit(done.stderr)
    return done.stdout, time.perf_counter() - began


def database_bytes(home: Path) -> int:
    """Bytes of rows and indices in Prefect's database; pages that are free are not counted."""
    with sqlite3.connect(home / "prefect" / "prefect.db") as database:
        pages, free, size = (
            int(database.execute(f"pragma {what}").fetchone()[0])
            for what in ("page_count", "freelist_count", "page_size")
        )
    return (pages - free) * size


def trivial_stages(folder: Path, count: int) -> None:
    print(f"\n{count} trivial stages as Prefect tasks, seconds; the first call creates the database")
    print(f"{'API':<24}{'import':>8}{'server':>8}{'flow':>8}{'a stage':>9}{'p95':>8}{'end':>7}{'bytes a stage':>15}")
    for api in ("ephemeral", "workspace"):
        home = folder / api
        for again in (False, True):
            grown = database_bytes(home) if again else 0
            if again:
                (home / "store").rename(home / "store-of-the-first")
            took = json.loads(output(home, "-c", FLOW, str(home), api, str(count))[0].splitlines()[-1])
            size = f"{(database_bytes(home) - grown) / count:15,.0f}" if again else f"{'':>15}"
            median, p95 = statistics.median(took["stages"]), statistics.quantiles(took["stages"], n=20)[-1]
            starts = "".join(f"{took[name]:8.1f}" for name in ("import", "server", "flow"))
            name = f"{api}, {'again' if again else 'first'}"
            print(f"{name:<24}{starts}{median:9.3f}{p95:8.3f}{took['end']:7.1f}{size}")


def real_run(folder: Path) -> None:
    config = str(ROOT / "configs" / "experiment" / "cards3_kl.yaml")
    print("\na small real run, seconds from command to prompt; again, it reuses every stage")
    for isolation in ("inline", "process"):
        home = folder / isolation
        command = ["-m", "flows.cli", "run", config, *SMALL, f"execution.isolation={isolation}"]
        for again in (False, True):
            took = output(home, *command)[1]
            print(f"{isolation}, {'again' if again else 'first':<8}{took:8.1f}")
            if not again:
                overheads(home, title=f"its stages, {isolation}")


def overheads(home: Path, title: str) -> None:
    """Between the end of one stage's computing and the beginning of the next one's, in runs without a break."""
    print(f"\n{title}: seconds that were not computing, target below {TARGET_S} a stage and {TARGET_SHARE:.0%}")
    print(f"{'run':<36}{'stages':>7}{'computing':>11}{'a stage':>9}{'p95':>8}{'most':>8}{'share':>8}")
    for journal in sorted(home.glob("runs/*/journal.jsonl")):
        attempts = list(gaps([json.loads(line) for line in journal.read_text().splitlines()]))
        rows = [row for attempt in attempts for row in attempt]
        if len(rows) < 4:
            continue
        computing, over = sum(s for s, _ in rows), [o for _, o in rows]
        share = sum(over) / (computing + sum(over))
        p95 = statistics.quantiles(over, n=20)[-1]
        numbers = f"{statistics.mean(over):9.3f}{p95:8.3f}{max(over):8.3f}{share:8.1%}"
        print(f"{journal.parent.name:<36}{len(rows):>7}{computing:11.1f}{numbers}")


def gaps(events: list[dict[str, Any]]) -> Iterator[list[tuple[float, float]]]:
    """For each attempt: (seconds of computing, seconds besides) of its computed stages.

    Besides is all from a stage's start to the next one's, or to the end of the run, but its computing; a stage that
    another process computed, which this one waited for, is left out.
    """
    rows: list[tuple[float, float]] = []
    told = [e for e in events if e["event"] in ("plan", "start", "end", "finished")]
    for begin, end, after in zip(told, told[1:], [*told[2:], None], strict=False):
        if begin["event"] == "plan":
            yield rows
            rows = []
        whole = (
            begin["event"] == "start" and end["event"] == "end" and after and after["event"] in ("start", "finished")
        )
        if whole and end["state"] == "done":
            rows.append((end["seconds"], after["time"] - begin["time"] - end["seconds"]))
    yield rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stages", type=int, default=100)
    parser.add_argument("--of", type=Path, help="only tell of the runs of this workspace")
    arguments = parser.parse_args()
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    if arguments.of:
        overheads(arguments.of, title=str(arguments.of))
        return
    with tempfile.TemporaryDirectory() as folder:
        for name in ("ephemeral", "workspace", "inline", "process"):
            Path(folder, name).mkdir()
        trivial_stages(Path(folder), arguments.stages)
        real_run(Path(folder))


if __name__ == "__main__":
    main()
