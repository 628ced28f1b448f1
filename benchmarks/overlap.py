"""What evaluation beside the training saves: one small run without and with `execution.overlap`, from one warm start.

    python benchmarks/overlap.py                 # about five minutes on two cores

The two runs must end with the same agent; seconds are by the wall clock, from the warm start's end to the run's.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SETTINGS = ["warm_start.steps=12", "warm_start.stop_at=12", "warm_start.turns=280", "warm_start.critic_turns=32"]
SETTINGS += ["rollout.envs=16", "rollout.turns=16", "evaluation.episodes=20", "evaluation.every=1"]


def run(home: Path, *settings: str) -> tuple[float, str]:
    """Seconds after the warm start, and the agent's digest."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT_", "MLFLOW_", "GTR_"))}
    config = str(ROOT / "configs" / "experiment" / "cards3_kl.yaml")
    done = subprocess.run(
        [sys.executable, "-m", "flows.cli", "run", config, *SETTINGS, *settings, "--json"],
        env=kept | {"GTR_HOME": str(home), "OMP_NUM_THREADS": "1"},
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        sys.exit(done.stderr)
    record = json.loads(done.stdout.splitlines()[-1])
    lines = (home / "runs" / record["run"] / "journal.jsonl").read_text().splitlines()
    ends = {event.get("stage", event["event"]): event["time"] for event in map(json.loads, lines)}
    return ends["finished"] - ends["warm_start"], record["agent"]["sha256"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--iterations", type=int, default=5)
    parser.add_argument("--episodes", type=int, default=100, help="validation episodes of each of agent, teacher, mean")
    arguments = parser.parse_args()
    sizes = [f"iterations={arguments.iterations}", f"evaluation.curve_episodes={arguments.episodes}"]
    with tempfile.TemporaryDirectory() as folder:
        first = Path(folder, "first")
        run(first, *sizes, "iterations=1")
        print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
        found = {}
        for overlap in ("false", "true"):
            home = Path(folder, overlap)
            shutil.copytree(first / "store" / "warm_start", home / "store" / "warm_start")
            found[overlap] = run(home, *sizes, f"execution.overlap={overlap}")
            print(f"overlap={overlap:<6}{found[overlap][0]:8.1f} s  agent {found[overlap][1][:12]}")
    (without, agent), (beside, same) = found["false"], found["true"]
    if agent != same:
        sys.exit("the agents differ")
    print(f"ratio {without / beside:.2f}")


if __name__ == "__main__":
    main()
