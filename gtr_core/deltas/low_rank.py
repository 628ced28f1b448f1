"""A dense task vector as a LoRA adapter of a stated rank."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from gtr_core.deltas.errors import MergeError
from gtr_core.deltas.lora import PREFIX
from gtr_core.seeding.streams import torch_generator

OVERSAMPLING, ITERATIONS = 16, 4  # of the subspace iteration


@dataclass(frozen=True)
class LowRank:
    """B A, the best approximation of its rank (Eckart-Young); `error` is |delta - B A| / |delta|, Frobenius."""

    a: Tensor  # (rank, in)
    b: Tensor  # (out, rank)
    error: float


def low_rank(delta: Tensor, rank: int, generator: torch.Generator | None = None) -> LowRank:
    """The factors of a matrix (out, in), each with the square root of the singular values.

    Where `rank` is above the matrix's smaller side the rest of the factors is 0, so that all adapters of a model can
    have one rank. A matrix much larger than the rank, such as a 7B model's, is not decomposed whole: its leading
    singular vectors are found by subspace iteration from a random start (Halko, Martinsson, Tropp 2011).
    """
    out, inner = delta.shape
    u, s, v = _leading(delta.float(), rank, generator or torch_generator("svd"))
    k = min(rank, len(s))
    root = s[:k].sqrt()
    a, b = torch.zeros(rank, inner), torch.zeros(out, rank)
    a[:k], b[:, :k] = root[:, None] * v[:k], u[:, :k] * root
    whole = float(torch.linalg.vector_norm(delta.float()))
    lost = float(torch.linalg.vector_norm(delta.float() - b @ a))
    return LowRank(a, b, lost / whole if whole else 0.0)


def _leading(delta: Tensor, rank: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Singular triplets (out, k), (k,), (k, in), the largest first; all of them where the matrix is small."""
    width = rank + OVERSAMPLING
    if min(delta.shape) <= 4 * width:
        u, s, v = torch.linalg.svd(delta, full_matrices=False)
        return u, s, v
    basis = torch.randn(delta.shape[1], width, generator=generator)
    for _ in range(ITERATIONS):
        left, _ = torch.linalg.qr(delta @ basis)
        basis, _ = torch.linalg.qr(delta.T @ left)
    left, _ = torch.linalg.qr(delta @ basis)
    u, s, v = torch.linalg.svd(left.T @ delta, full_matrices=False)
    return left @ u, s, v


def to_adapter(deltas: Iterable[tuple[str, Tensor]], rank: int, alpha: float) -> tuple[dict[str, Tensor], float]:
    """The tensors of a peft adapter file for matrices `<module>.weight`, and the relative error over all of them.

    Raises:
        MergeError: a task vector that is no matrix, or no weight; names it.
    """
    adapter: dict[str, Tensor] = {}
    lost, whole = 0.0, 0.0
    for name, delta in deltas:
        module = name.removesuffix(".weight")
        if delta.dim() != 2 or module == name:
            raise MergeError(
                f"'{name}' of shape {tuple(delta.shape)} fits no LoRA adapter: only matrices of weights do."
            )
        factors = low_rank(delta, rank, torch_generator("svd", name))
        adapter[f"{PREFIX}{module}.lora_A.weight"] = factors.a
        adapter[f"{PREFIX}{module}.lora_B.weight"] = factors.b * (rank / alpha)
        squares = float(delta.double().square().sum())
        lost, whole = lost + factors.error**2 * squares, whole + squares
    return adapter, (lost / whole) ** 0.5 if whole else 0.0
