"""Cards, and the split of a game's deals into disjoint train, valid and test sets."""

import hashlib
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import TypeVar

import numpy as np

SUITS = "SHDC"
RANKS = "A23456789TJQK"
SPLITS = ("train", "valid", "test")
SHARES = (0.7, 0.1, 0.2)
DRAWS = 100_000

Deal = TypeVar("Deal", bound=Hashable)


def card_name(rank: int, suit: str) -> str:
    """The reference's name of a card: suit, then rank (`D7`, `CK`, `DA`, `ST`)."""
    return suit + RANKS[rank - 1]


def card_rank(name: str) -> int:
    """The rank 1..13 of a card's name."""
    if len(name) != 2 or name[0] not in SUITS or name[1] not in RANKS:
        raise ValueError(f"{name!r} is no card: write a suit of {SUITS} and a rank of {RANKS}, as in 'D7'")
    return RANKS.index(name[1]) + 1


def draw_suit(rng: np.random.Generator) -> str:
    """A uniform suit."""
    return SUITS[rng.integers(4)]


def check_split(split: str | None) -> None:
    """Refuse a split that does not exist."""
    if split is not None and split not in SPLITS:
        raise ValueError(f"split={split!r} is not known: choose one of {', '.join(SPLITS)}, or None for all deals")


def partition(deals: Iterable[Deal]) -> dict[Deal, str]:
    """Assign each deal its split: the deals in the order of a stable hash, cut at 70 and 80 per cent.

    Cutting by rank keeps the shares exact in games of a few dozen deals; each split gets at least one deal of three.
    """
    order = sorted(deals, key=lambda deal: hashlib.sha256(repr(deal).encode()).digest())
    held_out = {name: max(1, round(share * len(order))) for name, share in zip(SPLITS, SHARES, strict=True)}
    train = len(order) - held_out["valid"] - held_out["test"]
    names = ["train"] * train + ["valid"] * held_out["valid"] + ["test"] * held_out["test"]
    return dict(zip(order, names, strict=False))


def draw(sample: Callable[[], Deal], accept: Callable[[Deal], bool]) -> Deal:
    """The first deal of `sample` that is accepted."""
    for _ in range(DRAWS):
        deal = sample()
        if accept(deal):
            return deal
    raise ValueError(f"none of {DRAWS} deals fits: the split or the target leaves nothing to deal")


def shuffled(deals: Sequence[Deal], rng: np.random.Generator) -> list[Deal]:
    """The deals in a random order."""
    return [deals[i] for i in rng.permutation(len(deals))]
