"""Finished runs made by hand: what each policy won is given, stages have manifests and take two seconds each."""

import json
import re
from collections.abc import Mapping, Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from flows.experiment import plan
from flows.runs.run import RECORD, Run
from gtr_core.config import Experiment
from gtr_core.util.files import read_json, write_json
from tasks.store.metrics import MetricWriter
from tasks.store.store import MANIFEST, StageStore
from tests.flows.made import finished

DEALS = ("[1, 2]", "[1, 2]", "[3, 4]", "[5, 6]")
Wins = Mapping[str, Sequence[int]]  # by who: 1 for a won episode


class _Sources(HTMLParser):
    """What the page would fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag != "a":
            self.found += [value or "" for name, value in attrs if name in ("src", "href", "xlink:href", "srcset")]


def fetches_nothing(html: str) -> bool:
    """Whether the page needs no other file; links that one may follow are no need."""
    sources = _Sources()
    sources.feed(html)
    inside = all(source.startswith(("data:", "#")) for source in sources.found) and "<script" not in html
    return inside and not re.search(r"url\((?!#)|@import", html)


def ended(
    experiment: Experiment,
    home: Path,
    wins: Wins,
    *,
    curve: Mapping[int, float] = {},
    digest: str = "d" * 64,
    deals: Sequence[str] | None = DEALS,
    extra: Mapping[str, Mapping[str, float]] = {},
) -> Run:
    """A run whose policies won what `wins` says (who is not in it: nothing), greedy and sampled alike.

    `curve` is the agent's validation success by iteration, `extra` further metrics by stage.
    """
    run = finished(experiment, home)
    stages = plan(run, StageStore(home / "store"))
    for record in stages.values():
        manifest: dict[str, Any] = read_json(record.directory / MANIFEST)
        steps = float((record.iteration or 0) * 32)
        metrics = {"env_steps": steps} | dict(extra.get(record.stage, {}))
        if record.stage == "rollout":
            metrics |= {"rollout/episodes": 8.0, "rollout/success_rate": 0.25, "rollout/tokens_generated": 100.0}
        if record.stage == "evaluate":
            who, split = manifest["config"]["who"], manifest["config"]["split"]
            if split == "valid":
                metrics[f"{who}/success_rate"] = curve.get(record.iteration or 0, 0.0) if who == "agent" else 0.1
            else:
                metrics |= _played(record.directory, who, wins.get(who, [0] * len(DEALS)), deals)
                facts = {"set": "Points24-test-4-seed0", "digest": digest, "n": len(DEALS)}
                (record.directory / "episodes.json").write_text(json.dumps(facts))
        if not (record.directory / "metrics.jsonl").exists():
            MetricWriter(record.directory).log(metrics, step=int(steps))
        (record.directory / MANIFEST).write_text(json.dumps(manifest | {"metrics": metrics}))
    told = [{"stage": r.stage, "iteration": r.iteration, "key": r.key, "seconds": 2.0} for r in stages.values()]
    record_of_run = {"run": run.key, "command": f"gtr run {run.name}.yaml", "name": run.name, "stages": told}
    write_json(run.directory / RECORD, record_of_run | {"method": experiment.method, "seed": experiment.seed})
    return run


def _played(directory: Path, who: str, won: Sequence[int], deals: Sequence[str] | None) -> dict[str, float]:
    metrics = {}
    for mode in ("greedy", "sampled"):
        rows = []
        for i, win in enumerate(won):
            row = {"won": bool(win), "return": 10.0 if win else -1.0, "ended": "terminated", "texts": ['{"<b>": 1}']}
            rows.append(row | ({"deal": deals[i]} if deals else {}))
        (directory / f"{mode}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        rate = sum(won) / len(won)
        figures = {"episodes": float(len(won)), "success_rate": rate, "return_mean": 11 * rate - 1, "valid_rate": 1.0}
        metrics |= {f"final_{who}/{mode}_{k}": v for k, v in (figures | {"turns_mean": 3.0}).items()}
    return metrics
