"""The corrector without a network: the environment's own judge, and its solver's or expert's thought."""

import json
from collections.abc import Iterable
from pathlib import Path

from gtr_core.config import Experiment
from gtr_core.envs.text import TextEnv
from gtr_core.guidance.corrector.corrections import Corrections, Corrector
from gtr_core.rollout.types import Rollout


def oracle_corrector(experiment: Experiment, workspace: Path) -> Corrector:
    """The oracle, which has no settings."""
    return oracle


def oracle(rollout: Rollout, states: Iterable[tuple[int, TextEnv]]) -> Corrections:
    """Thoughts with a wrong field are replaced by the oracle's; skipped where nothing wins any more.

    A thought is right when every field that can be judged in its state was judged right as the agent played.
    """
    fields, right, skipped = {}, 0, 0
    for n, env in states:
        verdict = rollout.verdicts_N[n]
        if verdict and all(verdict.values()):
            right += 1
        elif (answer := env.oracle()) is None:
            skipped += 1
        else:
            fields[n] = json.loads(answer)
    return Corrections(fields, right, skipped)
