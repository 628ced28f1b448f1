"""Rollouts and evaluations in parts that different processes can play, and the whole made of the parts.

A part holds whole batches, and every environment and episode has random streams of its own. So each answer is generated
in the same batch by the same numbers, and the whole is the same, byte for byte, for any number of parts.
"""

import itertools
import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

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

    def column(name: str) -> list[Any]:
        return [getattr(parts[i], name)[n] for i, n in order]

    def grid(name: str) -> Tensor:
        return torch.cat([getattr(part, name) for part in parts], dim=-1)

    book = PictureBook()
    pictures = [book.add(parts[i].image(n)) for i, n in order]
    episodes = [iter(part.episodes) for part in parts]
    done = [part.done_T_E.flatten() for part in parts]
    return Rollout(
        pictures=book.pictures,
        picture_N=pictures,
        prompts_N=column("prompts_N"),
        texts_N=column("texts_N"),
        action_start_N=column("action_start_N"),
        answers_N=column("answers_N"),
        thought_N=column("thought_N"),
        logp_N=column("logp_N"),
        verdicts_N=column("verdicts_N"),
        value_T_E=grid("value_T_E"),
        reward_T_E=grid("reward_T_E"),
        done_T_E=grid("done_T_E"),
        valid_T_E=grid("valid_T_E"),
        legal_T_E=grid("legal_T_E"),
        last_value_E=grid("last_value_E"),
        hidden_N_D=torch.stack(column("hidden_N_D")),
        episodes=[next(episodes[i]) for i, n in order if done[i][n]],
        faults={name: sum(part.faults[name] for part in parts) for name in parts[0].faults},
    )
