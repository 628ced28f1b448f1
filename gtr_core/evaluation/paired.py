"""Differences between two policies on the very same episodes, with an interval that knows what repeats.

    d_se = a_se - b_se        seed s, episode e;   the mean of all d is the difference

The episodes of one deal resemble one another, and so do those of one seed, whose policies are the same in all of them.
So both are drawn with replacement, independently (the pigeonhole bootstrap, Owen 2007): a resample has weight
`times seed s was drawn` x `times deal h was drawn` on each difference. The interval holds its middle 95 %.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from gtr_core.seeding.streams import generator

RESAMPLES = 10_000

Outcomes = Mapping[int, Sequence[float]]  # by seed: one value an episode, in the order of the episode set


@dataclass(frozen=True)
class Difference:
    """The mean of a - b over the seeds that both have, and its 95 % interval."""

    mean: float
    low: float
    high: float
    seeds: int
    deals: int
    episodes: int  # of one seed


def paired_difference(a: Outcomes, b: Outcomes, deals: Sequence[str]) -> Difference | None:
    """The difference of two policies; None when they have no seed in common.

    With one seed the interval is about the deals alone: how another seed would turn out it cannot say. The resamples
    are the same each time, so that a table printed again is the same table.

    Args:
        a: outcomes of the one.
        b: outcomes of the other, on the same episodes.
        deals: of each episode.
    """
    seeds = sorted(set(a) & set(b))
    if not seeds:
        return None
    d_S_E = np.array([np.subtract(a[s], b[s]) for s in seeds], dtype=float)
    names = sorted(set(deals))
    place = {deal: h for h, deal in enumerate(names)}
    member_E_H = np.zeros((len(deals), len(names)))
    member_E_H[np.arange(len(deals)), [place[deal] for deal in deals]] = 1.0
    sum_S_H = d_S_E @ member_E_H
    count_H = member_E_H.sum(0)
    drawn_R_S, drawn_R_H = _times_drawn("seeds", len(seeds)), _times_drawn("deals", len(names))
    mean_R = ((drawn_R_S @ sum_S_H) * drawn_R_H).sum(1) / (len(seeds) * (drawn_R_H @ count_H))
    low, high = np.quantile(mean_R, (0.025, 0.975))
    return Difference(float(d_S_E.mean()), float(low), float(high), len(seeds), len(names), len(deals))


@lru_cache(maxsize=8)
def _times_drawn(what: str, n: int) -> np.ndarray:
    """How often each of n is drawn, n times with replacement, in every resample: R x n."""
    return generator("paired", what, n).multinomial(n, np.full(n, 1 / n), size=RESAMPLES)
