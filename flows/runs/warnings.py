"""A run's warnings: the rules of `gtr_core.evaluation.warning_rules` over the metrics of its stages."""

from collections import defaultdict
from collections.abc import Sequence

from gtr_core.config import Experiment
from gtr_core.evaluation.warning_rules import RunWarning, find_warnings
from tasks.store.record import StageRecord


def warnings_of(records: Sequence[StageRecord], experiment: Experiment) -> list[RunWarning]:
    """What is wrong with a run by its stages so far, in order."""
    history: dict[str, list[tuple[int, float]]] = defaultdict(list)
    for record in records:
        if record.iteration:
            for name, value in record.metrics.items():
                history[name].append((record.iteration, value))
    return find_warnings(history, experiment.evaluation.curve_episodes)
