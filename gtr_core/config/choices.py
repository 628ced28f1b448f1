"""All that a configuration chooses by name, and where its code is: the one line that adding a thing takes.

An entry is `module:attribute`, loaded when it is chosen. So the chosen entry's code is in a stage's key and no other's
is; this file is in none (see `tasks.store.fingerprint`).
"""

from dataclasses import dataclass, field
from importlib import import_module
from typing import Any


@dataclass(frozen=True)
class Environment:
    """A gymnasium environment, what speaks for it in text, and which modules its own arguments choose."""

    env: str
    text: str
    parts: dict[str, dict[str, str]] = field(default_factory=dict)  # argument -> its value -> module


@dataclass(frozen=True)
class MergeMethod:
    """A function from task vectors to a task vector; `select` first chooses members by a score on episodes."""

    merge: str
    select: str = ""


ENVIRONMENTS = {
    "gtr/Points24-v0": Environment("gtr_core.envs.points.env:Points24Env", "gtr_core.envs.points.text:PointsGame"),
    "gtr/EZPoints-v0": Environment("gtr_core.envs.points.ezpoints:EZPointsEnv", "gtr_core.envs.points.text:PointsGame"),
    "gtr/NumberLine-v0": Environment(
        "gtr_core.envs.numberline.env:NumberLineEnv", "gtr_core.envs.numberline.text:NumberLineGame"
    ),
    "gtr/Blackjack-v0": Environment(
        "gtr_core.envs.blackjack.env:BlackjackEnv", "gtr_core.envs.blackjack.text:BlackjackGame"
    ),
    "gtr/ALFWorld-v0": Environment(
        "gtr_core.envs.alfworld.env:ALFWorldEnv",
        "gtr_core.envs.alfworld.text:ALFWorldGame",
        {
            "engine": {"textworld": "gtr_core.envs.alfworld.engine.textworld"},
            "render": {"thor": "gtr_core.envs.alfworld.thor"},
        },
    ),
}

MERGE_METHODS = {
    "ties": MergeMethod("gtr_core.merge.ties:ties"),
    "linear": MergeMethod("gtr_core.merge.linear:linear"),
    "slerp": MergeMethod("gtr_core.merge.slerp:slerp"),
    "task_arithmetic": MergeMethod("gtr_core.merge.task_arithmetic:task_arithmetic"),
    "dare_linear": MergeMethod("gtr_core.merge.dare:dare_linear"),
    "dare_ties": MergeMethod("gtr_core.merge.dare:dare_ties"),
    "breadcrumbs": MergeMethod("gtr_core.merge.breadcrumbs:breadcrumbs"),
    "della": MergeMethod("gtr_core.merge.della:della"),
    "model_stock": MergeMethod("gtr_core.merge.model_stock:model_stock"),
    "greedy_soup": MergeMethod("gtr_core.merge.linear:linear", select="gtr_core.merge.greedy_soup:greedy_soup"),
}

METHODS = {  # of a run: its guidance
    "ppo": "",
    "gtr": "gtr_core.guidance.corrected:CorrectedGuidance",
    "turbo_sft": "gtr_core.guidance.sft:SFTGuidance",
    "turbo_kl": "gtr_core.guidance.kl:KLGuidance",
    "distill": "",  # that of the method which `distill.by` names
}

CORRECTORS = {
    "oracle": "gtr_core.guidance.corrector.oracle:oracle_corrector",
    "endpoint": "gtr_core.guidance.corrector.remote:remote_corrector",
}


def load(entry: str) -> Any:
    """What an entry names, imported."""
    module, name = entry.split(":")
    return getattr(import_module(module), name)


def module_of(entry: str) -> str:
    """The module that an entry lies in."""
    return entry.partition(":")[0]
