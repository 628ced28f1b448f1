"""The hands of a game of points, solvable and not, and their splits."""

from collections.abc import Mapping
from functools import lru_cache
from itertools import combinations_with_replacement

from gtr_core.envs.cards.deals import partition
from gtr_core.envs.points.solver import Hand, solvable


@lru_cache(maxsize=64)
def hand_splits(n_cards: int, highest: int, target: int) -> Mapping[Hand, str]:
    """The split of every hand of `n_cards` numbers 1..`highest`; solvable and unsolvable hands are cut apart."""
    hands = list(combinations_with_replacement(range(1, highest + 1), n_cards))
    can = [hand for hand in hands if solvable(hand, target)]
    cannot = [hand for hand in hands if not solvable(hand, target)]
    return partition(can) | partition(cannot)
