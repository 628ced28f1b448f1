"""Exact solver of the card games: solvability, all formulas, and the winning continuation of a partial formula.

A hand is a multiset of numbers. `values` tabulates what each multiset can make, once; whether a hand makes the target
is then a look-up of what is missing. `continuation` walks the formulas token by token on a small machine of open
parentheses, with as few further parentheses as possible and the largest numbers first, so that its first answer is a
short formula and every prefix of that answer continues to the same answer.
"""

from collections.abc import Iterator, Sequence
from fractions import Fraction
from functools import cache, lru_cache
from itertools import combinations
from typing import NamedTuple, TypeAlias

from gtr_core.envs.points.formula import FormulaError, Number, lex
from gtr_core.envs.points.machine import EMPTY, Frames, push, worth

Hand: TypeAlias = tuple[int, ...]

OPERATORS = "+-*/()"


def hand(cards: Sequence[int]) -> Hand:
    """The multiset of `cards`: the form in which tables are kept."""
    return tuple(sorted(cards))


@cache
def splits(cards: Hand) -> tuple[tuple[Hand, Hand], ...]:
    """All distinct ways to part a hand in two."""
    found: dict[tuple[Hand, Hand], None] = {}
    for size in range(1, len(cards)):
        for chosen in combinations(range(len(cards)), size):
            left = tuple(cards[i] for i in chosen)
            right = tuple(card for i, card in enumerate(cards) if i not in chosen)
            found[left, right] = None
    return tuple(found)


def _combine(a: Fraction, b: Fraction) -> Iterator[tuple[str, Fraction]]:
    yield "+", a + b
    yield "-", a - b
    yield "*", a * b
    if b:
        yield "/", a / b


@cache
def values(cards: Hand) -> frozenset[Fraction]:
    """Every rational that + - * / and parentheses make of all the cards, each used once."""
    if len(cards) == 1:
        return frozenset({Fraction(cards[0])})
    return frozenset(
        made for left, right in splits(cards) for a in values(left) for b in values(right) for _, made in _combine(a, b)
    )


@cache
def solvable(cards: Hand, target: int) -> bool:
    """Whether the hand makes the target exactly: 20,876 of the 28,561 deals of Points24 do (PAPER.md 3.3)."""
    if len(cards) == 1:
        return cards[0] == target
    for left, right in splits(cards):
        if len(left) > len(right):
            continue
        reachable = values(right)
        for a in values(left):
            if a + target in reachable or a - target in reachable or target - a in reachable:
                return True
            if a * target in reachable and target and a:
                return True
            if (a == 0 and target == 0) or (a and target / a in reachable):
                return True
            if a and target and a / target in reachable:
                return True
    return False


@lru_cache(maxsize=4096)
def solve(cards: Hand, target: Number) -> tuple[str, ...]:
    """All formulas, sorted, that make `target` of the sorted `cards`; parentheses only where needed."""
    return tuple(sorted({text for text, _ in _expressions(cards, Fraction(target))}))


@lru_cache(maxsize=4096)
def _expressions(cards: Hand, target: Fraction) -> tuple[tuple[str, str], ...]:
    """Pairs of a formula and its outermost operator."""
    if len(cards) == 1:
        return ((str(cards[0]), ""),) if cards[0] == target else ()
    found = []
    for left, right in splits(cards):
        for a in values(left):
            for b in values(right):
                for operator, made in _combine(a, b):
                    if made == target:
                        found += [
                            (
                                _enclose(x, p, operator, first=True) + operator + _enclose(y, q, operator, first=False),
                                operator,
                            )
                            for x, p in _expressions(left, a)
                            for y, q in _expressions(right, b)
                        ]
    return tuple(dict.fromkeys(found))


def _enclose(text: str, inner: str, outer: str, *, first: bool) -> str:
    weak = outer in "*/" and inner in ("+", "-")
    right = not first and ((outer == "-" and inner in ("+", "-")) or (outer == "/" and inner in ("*", "/")))
    return f"({text})" if weak or right else text


class Goal(NamedTuple):
    """What a formula is to reach, with which operators, in which arithmetic."""

    target: int
    operators: str
    exact: bool


@lru_cache(maxsize=1 << 15)
def _finish(frames: Frames, cards: Hand, parentheses: int, goal: Goal) -> tuple[str, ...] | None:
    """The first winning rest of `frames` that uses `cards` and opens at most `parentheses` more parentheses."""
    top = frames[-1]
    choices: list[str]
    if top.term is None or top.operator:
        choices = [str(card) for card in sorted(set(cards), reverse=True)]
        choices += ["("] if parentheses and len(cards) > 1 else []
    else:
        if not cards and len(frames) == 1:
            return () if worth(top) == goal.target else None
        choices = [operator for operator in goal.operators if operator in "+-*/"] if cards else []
        choices += [")"] if len(frames) > 1 else []
    for token in choices:
        after = push(frames, token, goal.exact)
        if after is None:
            continue
        left = cards
        if token.isdecimal():
            index = cards.index(int(token))
            left = cards[:index] + cards[index + 1 :]
        rest = _finish(after, left, parentheses - (token == "("), goal)
        if rest is not None:
            return (token, *rest)
    return None


@lru_cache(maxsize=1 << 15)
def continuation(
    prefix: tuple[str, ...], cards: Hand, target: int, operators: str = OPERATORS, exact: bool = True
) -> tuple[str, ...] | None:
    """The tokens that complete `prefix` to a formula of all cards worth `target`; None when there are none.

    Args:
        prefix: pieces of the formula so far, blanks of illegal picks among them.
        cards: the whole sorted hand, the numbers of the prefix included.
        target: the value to reach.
        operators: those the game has; parentheses are used when `(` is one.
        exact: rationals; otherwise Python's integers and floats, as the reference counts.

    Joined digits, `**` and `//` are never continued: the solver does not teach them.
    """
    if target > 0 and not solvable(cards, target):  # for positive numbers and target signs add nothing
        return None
    frames: Frames = (EMPTY,)
    left = list(cards)
    for piece in prefix:
        if not piece.strip():
            continue
        if piece.isdecimal():
            if int(piece) not in left:
                return None
            left.remove(int(piece))
        after = push(frames, piece, exact)
        if after is None:
            return None
        frames = after
    most = max(0, len(left) - 1) if "(" in operators else 0
    for parentheses in range(most + 1):
        rest = _finish(frames, tuple(left), parentheses, Goal(target, operators, exact))
        if rest is not None:
            return rest
    return None


def uses(text: str, cards: Sequence[int]) -> bool:
    """Whether the numbers in a formula's text are exactly the cards."""
    try:
        numbers = [int(token) for token in lex(text) if token.isdecimal()]
    except FormulaError:
        return False
    return hand(numbers) == hand(cards)
