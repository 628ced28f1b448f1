"""Processes that train one model together: each computes the gradients of its share of a minibatch, all take the sum.

A loss is divided by the whole minibatch's size wherever it is computed, so the summed gradients are those of one
process, up to the order of the additions. A process holds the whole model, or a part of every weight (`sharding`), or
the whole model and a part of the optimiser (`zero`).
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed
from torch.nn.utils import clip_grad_norm_, clip_grads_with_norm_, get_total_norm

from gtr_core.agent.sharding import is_part, whole

T = TypeVar("T")


@dataclass(frozen=True)
class Ranks:
    """This process among `count`; more than one need an initialised `torch.distributed` process group."""

    rank: int = 0
    count: int = 1
    sharded: bool = False  # the policy's weights are
    zero: int = 0  # 1, 2: the stage of DeepSpeed's ZeRO by which the optimiser is shared
    device: str = "cpu"  # that the process group's tensors are on

    def share(self, parts: Sequence[T]) -> list[tuple[T, bool]]:
        """This process's part of what all are to do, and whether it counts.

        Sharded weights are gathered, and DeepSpeed's gradients summed, by all at once: who has no part left goes along
        with one that does not count.
        """
        own = [(part, True) for part in parts[self.rank :: self.count]]
        rounds = -(-len(parts) // self.count)
        return own + [(parts[-1], False)] * (rounds - len(own) if self.sharded or self.zero else 0)

    def sum_gradients(self, parameters: Iterable[Tensor]) -> None:
        """Give every process the sum of all processes' gradients; one that had nothing to do adds zeros.

        A sharded weight's have been summed in the backward passes.
        """
        if self.count == 1:
            return
        for p in parameters:
            if is_part(p):
                continue
            if p.grad is None:
                p.grad = torch.zeros_like(p)
            distributed.all_reduce(p.grad)

    def clip_gradients(self, parameters: Iterable[Tensor], largest: float) -> Tensor:
        """Scale the gradients down to a global norm of `largest` if theirs is larger; the norm that they had."""
        if not self.sharded:
            return clip_grad_norm_(parameters, largest)
        given = [p for p in parameters if p.grad is not None]
        kinds = [[p for p in given if is_part(p) == part] for part in (True, False)]
        norms = [whole(get_total_norm([p.grad for p in kind if p.grad is not None])) for kind in kinds if kind]
        norm: Tensor = torch.linalg.vector_norm(torch.stack(norms))
        for kind in kinds:
            clip_grads_with_norm_(kind, largest, norm)
        return norm

    def gather(self, value: Any) -> list[Any]:
        """The JSON values of all processes, by rank."""
        if self.count == 1:
            return [value]
        said = torch.tensor(list(json.dumps(value).encode()), dtype=torch.uint8, device=self.device)
        lengths = [torch.zeros(1, dtype=torch.int64, device=self.device) for _ in range(self.count)]
        distributed.all_gather(lengths, torch.tensor([len(said)], device=self.device))
        longest = max(int(n) for n in lengths)
        heard = [torch.zeros(longest, dtype=torch.uint8, device=self.device) for _ in range(self.count)]
        distributed.all_gather(heard, torch.nn.functional.pad(said, (0, longest - len(said))))
        return [json.loads(bytes(h[: int(n)].tolist())) for h, n in zip(heard, lengths, strict=True)]
