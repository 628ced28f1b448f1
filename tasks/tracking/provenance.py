"""What a run was made with: packages, Python, the checkout's commit and the machine."""

import os
import platform
import socket
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

PACKAGES = (
    "gtr-turbo",
    "torch",
    "transformers",
    "peft",
    "accelerate",
    "tokenizers",
    "safetensors",
    "numpy",
    "pandas",
    "pillow",
    "gymnasium",
    "omegaconf",
    "mlflow",
    "prefect",
    "alfworld",
    "textworld",
)
ROOT = Path(__file__).resolve().parents[2]


def provenance(device: torch.device) -> dict[str, Any]:
    """The facts of this process, JSON: `packages`, `python`, `platform`, `host`, `cpus`, `device`, `git`."""
    return {
        "packages": {name: version for name in PACKAGES if (version := _version(name))},
        "python": platform.python_version(),
        "platform": platform.platform(),
        "host": socket.gethostname(),
        "cpus": os.cpu_count(),
        "device": _name(device),
        "git": git_state(ROOT),
    }


def provenance_tags(facts: dict[str, Any]) -> dict[str, str]:
    """The few of them that MLflow's tables are searched and grouped by."""
    tags = {"gtr.version": facts["packages"]["gtr-turbo"], "gtr.device": facts["device"], "gtr.host": facts["host"]}
    if facts["git"]:
        tags["mlflow.source.git.commit"] = facts["git"]["commit"]
        tags["gtr.git_dirty"] = str(facts["git"]["dirty"]).lower()
    return tags


def git_state(root: Path) -> dict[str, Any] | None:
    """`commit` and whether tracked files were changed since (`dirty`); None outside of a git checkout."""
    if not (root / ".git").exists():
        return None
    commit = _git(root, "rev-parse", "HEAD")
    if commit is None:
        return None
    return {"commit": commit, "dirty": bool(_git(root, "status", "--porcelain", "--untracked-files=no"))}


def _git(root: Path, *arguments: str) -> str | None:
    """What git prints; None where there is no git, or it refuses (another user's checkout, no commit yet)."""
    try:
        done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _name(device: torch.device) -> str:
    """A GPU stays unnamed: to ask its name takes memory on it, and its slot is each stage's, which notes the name."""
    return str(device) if device.type == "cuda" else f"cpu ({platform.machine()})"
