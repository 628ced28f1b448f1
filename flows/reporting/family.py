"""A teacher's family: the checkpoints it was merged from, their weights, and the rollouts that each learned from."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from flows.reporting.finished import Finished
from gtr_core.config.choices import module_of


@dataclass(frozen=True)
class Member:
    """A model or a rollout, and what it was made from."""

    name: str
    where: str  # inside the workspace
    facts: str
    parents: list["Member"] = field(default_factory=list)


def family(run: Finished) -> Member | None:
    """The last teacher's tree; None for a run that merged nothing."""
    by_key = {manifest["key"]: manifest for manifest in run.manifests}
    merges = list(run.of("merge"))
    return _member(merges[-1], by_key) if merges else None


def _member(manifest: Mapping[str, Any], by_key: Mapping[str, Mapping[str, Any]]) -> Member:
    stage, iteration, metrics = manifest["stage"], manifest["iteration"], manifest["metrics"]
    where, inputs = f"store/{stage}/{manifest['key']}", manifest["inputs"]
    if stage == "merge":
        how = manifest["config"]["merge"]
        weights = manifest["config"]["weights"]
        facts = f"{how['method']}, density {how['density']}, weights {how['weights']}, {how['mode']}"
        parents = [_member(by_key[key], by_key) for key in inputs["members"] if key in by_key]
        shares = [
            Member(p.name, p.where, f"weight {w:.3f}; {p.facts}", p.parents)
            for p, w in zip(parents, weights, strict=False)
        ]
        return Member(f"teacher {iteration}", where, facts, shares)
    if stage == "update":
        before = by_key.get(inputs.get("previous", ""))
        parent = f"checkpoint {before['iteration']}" if before else "the start"
        guides = inputs.get("guides", [])
        last = guides[-1:] if isinstance(guides, list) else []
        parents = [_member(by_key[key], by_key) for key in (inputs["rollout"], *last) if key in by_key]
        return Member(f"checkpoint {iteration}", where, f"from {parent}", parents)
    if stage == "rollout":
        facts = f"{metrics['rollout/episodes']:.0f} episodes, success {metrics['rollout/success_rate']:.3f}"
        return Member(f"rollout {iteration}", where, facts)
    teacher = by_key.get(inputs.get("teacher", ""))
    config = manifest["config"]  # of an older version it has `guide`: kl, sft, corrector
    guidance = config.get("guide") or module_of(config["guidance"]).rpartition(".")[2]
    told = f"by teacher {teacher['iteration']}" if teacher else f"by {guidance}"
    return Member(f"{stage} {iteration}", where, told)
