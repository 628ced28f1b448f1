"""Task vectors: what training moved, as dense differences from the start, computed one tensor at a time."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial

import torch
from torch import Tensor

from gtr_core.deltas.errors import MergeError


class Deltas(Mapping[str, Tensor]):
    """Task vectors by the name of the weight they are added to, each computed in fp32 when it is asked for."""

    def __init__(self, compute: Mapping[str, Callable[[], Tensor]]) -> None:
        self._compute = compute

    def __getitem__(self, name: str) -> Tensor:
        return self._compute[name]()

    def __contains__(self, name: object) -> bool:  # Mapping's own would compute the tensor
        return name in self._compute

    def __iter__(self) -> Iterator[str]:
        return iter(self._compute)

    def __len__(self) -> int:
        return len(self._compute)


class Moved(Mapping[str, Tensor]):
    """theta_init + delta in fp32, each tensor computed when asked for; the start's own where there is no delta."""

    def __init__(self, start: Mapping[str, Tensor], deltas: Mapping[str, Tensor]) -> None:
        self._start, self._deltas = start, deltas

    def __getitem__(self, name: str) -> Tensor:
        own = self._start[name]
        return own.float() + self._deltas[name] if name in self._deltas else own

    def __iter__(self) -> Iterator[str]:
        return iter(self._start)

    def __len__(self) -> int:
        return len(self._start)


def stored_deltas(start: Mapping[str, Tensor], deltas: Mapping[str, Tensor]) -> Deltas:
    """Task vectors that were stored as such, in any number type.

    Raises:
        MergeError: one belongs to no weight of the start, or to one of another shape; names the first.
    """
    for name in deltas:
        if name not in start or start[name].shape != deltas[name].shape:
            raise MergeError(f"this teacher does not belong to the start: '{name}' has no weight to be added to.")
    return Deltas({name: partial(_stored, deltas, name) for name in deltas})


def _stored(deltas: Mapping[str, Tensor], name: str) -> Tensor:
    return deltas[name].float()


def dense_deltas(start: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> Deltas:
    """theta - theta_init of every floating-point tensor, whatever the two number types.

    Integer and boolean tensors (buffers) are not merged: they must be equal.

    Raises:
        MergeError: a name, a shape, a kind of number or a buffer differs; names the first.
    """
    odd = sorted(start.keys() ^ weights.keys())
    if odd:
        side = "start" if odd[0] in start else "checkpoint"
        raise MergeError(f"these checkpoints do not belong together: '{odd[0]}' is in the {side} only.")
    for name in start:
        _check_pair(name, start[name], weights[name])
    floating = [name for name in start if start[name].is_floating_point()]
    return Deltas({name: partial(_difference, weights, start, name) for name in floating})


def _difference(weights: Mapping[str, Tensor], start: Mapping[str, Tensor], name: str) -> Tensor:
    return weights[name].float() - start[name].float()


def _check_pair(name: str, start: Tensor, weight: Tensor) -> None:
    if weight.shape != start.shape:
        raise MergeError(
            f"these checkpoints do not belong together: '{name}' is {tuple(weight.shape)} in the checkpoint and "
            f"{tuple(start.shape)} in the start."
        )
    if weight.is_floating_point() != start.is_floating_point():
        raise MergeError(
            f"these checkpoints do not belong together: '{name}' holds {weight.dtype} in the checkpoint and "
            f"{start.dtype} in the start."
        )
    if not start.is_floating_point() and not torch.equal(weight, start):
        raise MergeError(
            f"these checkpoints do not belong together: '{name}' holds {start.dtype}, which is not merged, and differs "
            "from the start's."
        )
