"""Rollouts and evaluations in parts that different processes can play, and the whole made of the parts.

A part holds whole batches, and every environment and episode has random streams of its own. So each answer is generated
in the same batch by the same numbers, and the whole is the same, byte for byte, for any number of parts.
"""

import itertools
import math
from collections.abc import Sequence
from typing import Any

import torch

from gtr_core.rollout.fields import FIELDS, Kind
from gtr_core.rollout.images import PictureBook
from gtr_core.rollout.types import Rollout


def shards(count: int, batch_size: int, parts: int) -> list[range]:
    """`range(count)` cut into at most `parts` ranges of whole batches, as even as those allow."""
    batches = math.ceil(count / batch_size)
    parts = min(parts, batches)
    cuts = [batches * part // parts * batch_size for part in range(parts)] + [count]
    return [range(start, stop) for start, stop in itertools.pairwise(cuts)]


def join(parts: Sequence[Rollout]) -> Rollout:
    """The rollout of all environments from the rollouts of `shards` of them, in that order."""
    turns = len(parts[0].reward_T_E)
    order = [  # of the samples: (part, sample in it)
        (i, t * len(part.last_value_E) + e)
        for t in range(turns)
        for i, part in enumerate(parts)
        for e in range(len(part.last_value_E))
    ]

    book = PictureBook()
    fields: dict[str, Any] = {}
    for field in FIELDS:
        match field.kind:
            case Kind.IMAGE:
                fields[field.name] = [book.add(parts[i].image(n)) for i, n in order]
            case Kind.JSON | Kind.TOKENS | Kind.NUMBER:
                fields[field.name] = [getattr(parts[i], field.name)[n] for i, n in order]
            case Kind.VECTOR:
                fields[field.name] = torch.stack([getattr(parts[i], field.name)[n] for i, n in order])
            case Kind.GRID | Kind.ENVIRONMENT:
                fields[field.name] = torch.cat([getattr(part, field.name) for part in parts], dim=-1)
    episodes = [iter(part.episodes) for part in parts]
    done = [part.done_T_E.flatten() for part in parts]
    return Rollout(
        pictures=book.pictures,
        episodes=[next(episodes[i]) for i, n in order if done[i][n]],
        faults={name: sum(part.faults[name] for part in parts) for name in parts[0].faults},
        **fields,
    )
