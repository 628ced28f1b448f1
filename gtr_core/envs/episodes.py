"""Evaluation sets: fixed, named, digested lists of episodes, so that two figures are of the same deals."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from gtr_core.envs.cards.deals import shuffled
from gtr_core.envs.registry import make


@dataclass(frozen=True)
class EpisodeSet:
    """Episodes as reset arguments: `episodes` holds `{"seed": int, "options": {...}}`; `digest` is their SHA-256.

    A game of few deals has several episodes of one deal, and these are not independent: `deals` tells them apart.
    """

    name: str
    env_id: str
    kwargs: Mapping[str, Any]
    split: str | None
    episodes: tuple[Mapping[str, Any], ...]
    deals: tuple[str, ...]  # of each episode, whatever the order, faces and suits of its cards
    digest: str
    iteration: int = 0  # of a drifting environment


def episode_set(
    env_id: str, kwargs: Mapping[str, Any], split: str | None, n: int, seed: int = 0, iteration: int = 0
) -> EpisodeSet:
    """`n` winnable episodes of a split: every distinct deal once before any comes again, in random order.

    Args:
        env_id: a registered environment.
        kwargs: its parameters; `split` replaces theirs.
        split: train, valid, test, or None for all deals.
        n: how many episodes.
        seed: of the order of deals, the order, faces and suits of their cards, and the episodes' own seeds.
        iteration: what a drifting environment goes by; others have one set for all iterations.
    """
    iteration = iteration if kwargs.get("drift") else 0
    env: Any = make(env_id, iteration=iteration, **{**kwargs, "split": split}).env.unwrapped
    rng = np.random.default_rng(seed)
    deals = env.winnable_deals()
    if not deals:
        raise ValueError(f"{env_id} has no winnable deal in split {split!r}")
    episodes: list[Mapping[str, Any]] = []
    dealt: list[str] = []
    while len(episodes) < n:
        for deal in shuffled(deals, rng)[: n - len(episodes)]:
            options = env.deal_options(deal, rng)
            episodes.append({"seed": int(rng.integers(2**31)), "options": options})
            dealt.append(json.dumps(deal))
    record: dict[str, Any] = {"env_id": env_id, "kwargs": dict(kwargs), "split": split, "episodes": episodes}
    record |= {"iteration": iteration} if iteration else {}
    digest = hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()
    name = f"{env.spec.name}-{split or 'all'}-{n}-seed{seed}"
    return EpisodeSet(name, env_id, dict(kwargs), split, tuple(episodes), tuple(dealt), digest, iteration)
