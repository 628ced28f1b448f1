"""Blackjack's best play from what the player sees, by exact expectation over the infinite deck (PAPER.md 3.4)."""

from collections.abc import Mapping, Sequence
from functools import cache

# Value to chance: ace to nine once, ten four times in thirteen.
DECK = {**dict.fromkeys(range(1, 10), 1 / 13), 10: 4 / 13}


def total(values: Sequence[int]) -> tuple[int, bool]:
    """A hand's total, and whether an ace counts eleven in it (a soft hand)."""
    low = sum(values)
    soft = 1 in values and low + 10 <= 21
    return low + 10 * soft, soft


def _add(points: int, soft: bool, value: int) -> tuple[int, bool]:
    """The hand after one more card."""
    points += value
    if value == 1 and not soft and points + 10 <= 21:
        return points + 10, True
    if points > 21 and soft:
        return points - 10, False
    return points, soft


@cache
def _dealer(points: int, soft: bool) -> Mapping[int, float]:
    """Chances of the dealer's final totals, 0 for more than 21."""
    if points >= 17:
        return {points if points <= 21 else 0: 1.0}
    chances: dict[int, float] = {}
    for value, chance in DECK.items():
        for final, inner in _dealer(*_add(points, soft, value)).items():
            chances[final] = chances.get(final, 0.0) + chance * inner
    return chances


@cache
def stand_value(points: int, dealer: int) -> float:
    """Expected reward of standing on `points` against the dealer's open card."""
    finals = _dealer(*total([dealer]))
    return sum(chance * ((points > final) - (points < final)) for final, chance in finals.items())


@cache
def hit_value(points: int, soft: bool, dealer: int) -> float:
    """Expected reward of one more card and the best play after it."""
    value = 0.0
    for card, chance in DECK.items():
        after, still_soft = _add(points, soft, card)
        best = -1.0 if after > 21 else max(stand_value(after, dealer), hit_value(after, still_soft, dealer))
        value += chance * best
    return value


def best_action(player: Sequence[int], dealer: int) -> str:
    """`stand` or `hit`, whichever is worth more; by card values, aces as 1."""
    points, soft = total(player)
    return "hit" if hit_value(points, soft, dealer) > stand_value(points, dealer) else "stand"
