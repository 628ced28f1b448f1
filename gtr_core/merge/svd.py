"""A dense task vector as a LoRA adapter of a stated rank."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from gtr_core.merge.lora import PREFIX
from gtr_core.merge.method import MergeError


@dataclass(frozen=True)
class LowRank:
    """B A, the best approximation of its rank (Eckart-Young); `error` is |delta - B A| / |delta|, Frobenius."""

    a: Tensor  # (rank, in)
    b: Tensor  # (out, rank)
    error: float


def low_rank(delta: Tensor, rank: int) -> LowRank:
    """The factors of a matrix (out, in), each with the square root of the singular values.

    Where `rank` is above the matrix's smaller side the rest of the factors is 0, so that all adapters of a model can
    have one rank.
    """
    out, inner = delta.shape
    u, s, v = torch.linalg.svd(delta.float(), full_matrices=False)
    k = min(rank, len(s))
    root = s[:k].sqrt()
    a, b = torch.zeros(rank, inner), torch.zeros(out, rank)
    a[:k], b[:, :k] = root[:, None] * v[:k], u[:, :k] * root
    norm = float(torch.linalg.vector_norm(s))
    return LowRank(a, b, float(torch.linalg.vector_norm(s[k:])) / norm if norm else 0.0)


def to_adapter(deltas: Mapping[str, Tensor], rank: int, alpha: float) -> tuple[dict[str, Tensor], float]:
    """The tensors of a peft adapter file for matrices `<module>.weight`, and the relative error over all of them.

    Raises:
        MergeError: a task vector that is no matrix, or no weight; names it.
    """
    adapter: dict[str, Tensor] = {}
    lost, whole = 0.0, 0.0
    for name, delta in deltas.items():
        module = name.removesuffix(".weight")
        if delta.dim() != 2 or module == name:
            raise MergeError(
                f"'{name}' of shape {tuple(delta.shape)} fits no LoRA adapter: only matrices of weights do."
            )
        factors = low_rank(delta, rank)
        adapter[f"{PREFIX}{module}.lora_A.weight"] = factors.a
        adapter[f"{PREFIX}{module}.lora_B.weight"] = factors.b * (rank / alpha)
        squares = float(delta.float().square().sum())
        lost, whole = lost + factors.error**2 * squares, whole + squares
    return adapter, (lost / whole) ** 0.5 if whole else 0.0
