"""All that a comparison says, before it is put into words or on a page."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from flows.reporting.arms import Arm, arms
from flows.reporting.costs import cost_table
from flows.reporting.differences import TEACHER_AHEAD, differences
from flows.reporting.selection import Selection
from flows.reporting.table import METRICS, comparison
from gtr_core.util.errors import UserError

FEW = 4  # arms of which every pair is shown


@dataclass(frozen=True)
class Comparison:
    """The tables, and what a reader of them must know."""

    selection: Selection
    arms: Sequence[Arm]
    metrics: Sequence[str]
    table: pd.DataFrame
    pairs: pd.DataFrame
    costs: pd.DataFrame
    notes: Sequence[str]

    @property
    def main_pairs(self) -> pd.DataFrame:
        """The differences to read: all between few arms, else those from one, `ppo` where it is there."""
        if len(self.arms) <= FEW or not len(self.pairs):
            return self.pairs
        one = next((a for a in self.arms if a.runs[0].run.experiment.method == "ppo"), self.arms[0]).label
        pairs = self.pairs
        return pairs[(pairs.a == one) | (pairs.b == one) | (pairs.policy == TEACHER_AHEAD)]

    @property
    def axes(self) -> list[str]:
        """What the rows are about."""
        return list(self.arms[0].values)


def compare(selection: Selection, by: Sequence[str] = (), metrics: Sequence[str] = ()) -> Comparison:
    """All tables of a selection; see `arms`, `comparison` and `differences` for what they hold and raise."""
    found, averaged = arms(selection.runs, by)
    chosen = [*METRICS, *(m for m in metrics if m not in METRICS)]
    table = comparison(found, chosen)
    notes = [f"Left out: {name}." for name in selection.left_out]
    if averaged:
        notes.append(f"Rows average over {', '.join(averaged)}; --by tells them apart.")
    if table.seeds.max() == 1:
        notes.append("One seed: no deviation; success has Wilson's interval, over the episodes and not over seeds.")
    elif table.seeds.min() == 1:
        notes.append("Rows of one seed have no deviation; their success has Wilson's interval, over the episodes.")
    if not (table.policy == "best agent").any():
        notes.append("No best agent: nothing chose one by validation when these runs were made.")
    try:
        pairs = differences(found)
    except UserError as error:
        notes.append(f"No paired differences: {error}")
        pairs = pd.DataFrame()
    shown = [m for m in chosen if f"{m}_mean" in table]
    return Comparison(selection, found, shown, table, pairs, cost_table(found), notes)
