"""Processes that train one model together: each computes the gradients of its share of a minibatch, all take the sum.

A loss is divided by the whole minibatch's size wherever it is computed, so the summed gradients are those of one
process, up to the order of the additions.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed

T = TypeVar("T")


@dataclass(frozen=True)
class Ranks:
    """This process among `count`; more than one need an initialised `torch.distributed` process group."""

    rank: int = 0
    count: int = 1

    def share(self, parts: Sequence[T]) -> Sequence[T]:
        """This process's part of what all are to do."""
        return parts[self.rank :: self.count]

    def sum_gradients(self, parameters: Iterable[Tensor]) -> None:
        """Give every process the sum of all processes' gradients; one that had nothing to do adds zeros."""
        if self.count == 1:
            return
        for p in parameters:
            if p.grad is None:
                p.grad = torch.zeros_like(p)
            distributed.all_reduce(p.grad)

    def gather(self, value: Any) -> list[Any]:
        """The JSON values of all processes, by rank."""
        if self.count == 1:
            return [value]
        device = "cuda" if distributed.get_backend() == "nccl" else "cpu"
        said = torch.tensor(list(json.dumps(value).encode()), dtype=torch.uint8, device=device)
        lengths = [torch.zeros(1, dtype=torch.int64, device=device) for _ in range(self.count)]
        distributed.all_gather(lengths, torch.tensor([len(said)], device=device))
        longest = max(int(n) for n in lengths)
        heard = [torch.zeros(longest, dtype=torch.uint8, device=device) for _ in range(self.count)]
        distributed.all_gather(heard, torch.nn.functional.pad(said, (0, longest - len(said))))
        return [json.loads(bytes(h[: int(n)].tolist())) for h, n in zip(heard, lengths, strict=True)]
