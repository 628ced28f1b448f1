"""The agent and the teacher that a small run of each method ends in: equal digests before and after a change of the
code say that the change is none of behaviour. On one machine; libraries round otherwise on another.

    python benchmarks/digests.py            # about two minutes
"""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

SMALL = "iterations=2 rollout.envs=32 rollout.turns=6 warm_start.turns=2048 evaluation.episodes=8"
SMALL += " evaluation.curve_episodes=8"
EXPERIMENTS = {"ppo": "cards3_ppo", "gtr": "cards3_gtr", "turbo_sft": "cards3_sft", "turbo_kl": "cards3_kl"}
EXPERIMENTS["distill"] = "cards3_distill"


def main() -> None:
    with TemporaryDirectory() as home:
        for method, config in EXPERIMENTS.items():
            command = [sys.executable, "-m", "flows.cli", "run", f"configs/experiment/{config}.yaml", *SMALL.split()]
            done = subprocess.run(
                [*command, "--json"], env=os.environ | {"GTR_HOME": home}, capture_output=True, text=True, check=False
            )
            if done.returncode:
                sys.exit(done.stderr)
            record = json.loads(done.stdout.splitlines()[-1])
            for kind in ("agent", "teacher"):
                print(f"{method:<10} {kind:<8} {tensors(Path(record[kind]['path']))}", flush=True)


def tensors(folder: Path) -> str:
    """Of the weights alone: the card beside them names the start by its key, which a change of the code changes."""
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*.safetensors")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


if __name__ == "__main__":
    main()
