"""`gtr doctor`: what is installed, which devices, servers and disk there are, and what is wrong with them."""

import json
import os
import platform
import shutil
import sys
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from flows.runs.run import workspace

REQUIRED = ("prefect", "mlflow", "torch", "transformers", "peft", "accelerate", "gymnasium", "omegaconf", "pandas")
EXTRAS = {"alfworld": "alfworld", "dask": "prefect-dask", "ray": "prefect-ray", "s3": "s3fs"}
LOW_DISK_GB = 2.0


@dataclass(frozen=True)
class Finding:
    """One line: what was looked at, what was found, and `ok`, `note` or `wrong`."""

    what: str
    found: str
    verdict: str


def examine(*, as_json: bool) -> bool:
    """Print every finding; true when nothing is wrong."""
    findings = [_python(), *map(_package, REQUIRED), *_extras(), *_devices(), *_workspace(), _mlflow(), _prefect()]
    if as_json:
        print(json.dumps([asdict(f) for f in findings]))
    else:
        marks = {"ok": "[green]ok   [/]", "note": "[yellow]note [/]", "wrong": "[red]wrong[/]"}
        console = Console()
        for f in findings:
            console.print(f"{marks[f.verdict]} {f.what:<14} {escape(f.found)}", highlight=False, soft_wrap=True)
    return all(f.verdict != "wrong" for f in findings)


def _python() -> Finding:
    return Finding("python", platform.python_version(), "ok" if sys.version_info >= (3, 11) else "wrong")


def _package(name: str) -> Finding:
    try:
        return Finding(name, metadata.version(name), "ok")
    except metadata.PackageNotFoundError:
        return Finding(name, "not installed: run `make setup`", "wrong")


def _extras() -> list[Finding]:
    findings = []
    for extra, package in EXTRAS.items():
        try:
            findings.append(Finding(extra, metadata.version(package), "ok"))
        except metadata.PackageNotFoundError:
            findings.append(Finding(extra, f"not installed (optional): pip install -e '.[{extra}]'", "note"))
    return findings


def _devices() -> list[Finding]:
    import torch

    findings = [Finding("cpu", f"{os.cpu_count()} cores", "ok")]
    if not torch.cuda.is_available():
        return [*findings, Finding("cuda", "no device: real models need one, the demo does not", "note")]
    for i in range(torch.cuda.device_count()):
        facts = torch.cuda.get_device_properties(i)
        findings.append(Finding(f"cuda:{i}", f"{facts.name}, {facts.total_memory / 2**30:.0f} GiB", "ok"))
    return findings


def _workspace() -> list[Finding]:
    home = workspace()
    there = home if home.exists() else next(p for p in home.parents if p.exists())
    free = shutil.disk_usage(there).free / 1e9
    writable = os.access(there, os.W_OK)
    return [
        Finding("workspace", f"{home}{'' if home.exists() else ' (not made yet)'}", "ok" if writable else "wrong"),
        Finding("disk", f"{free:.1f} GB free", "ok" if free > LOW_DISK_GB else "wrong"),
    ]


def _mlflow() -> Finding:
    from tasks.tracking.connection import Failure, connect, tracking_uri

    home = workspace()
    uri = tracking_uri(home)
    if uri.startswith("sqlite:///") and not Path(uri.removeprefix("sqlite:///")).exists():
        return Finding("mlflow store", f"{uri} (made at the first run)", "ok")
    try:
        experiments = connect(home).search_experiments()
    except Failure as error:
        return Finding("mlflow store", f"{uri} does not answer: {str(error).splitlines()[0]}", "wrong")
    return Finding("mlflow store", f"{uri}, {len(experiments)} experiments", "ok")


def _prefect() -> Finding:
    url = os.environ.get("PREFECT_API_URL")
    if not url:
        return Finding("prefect server", "the workspace's own, started when a run needs it", "ok")
    from flows.orchestration.server import answers

    found = answers(url)
    return Finding("prefect server", f"{url} {'answers' if found else 'does not answer'}", "ok" if found else "wrong")
