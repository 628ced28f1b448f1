"""Merging checkpoints into a teacher: one method a file, one registry."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from gtr_core.merge.deltas import dense_deltas, lora_deltas
from gtr_core.merge.linear import linear
from gtr_core.merge.ties import ties
from gtr_core.merge.weights import ema, sma

__all__ = [
    "METHODS",
    "MergeStatistics",
    "dense_deltas",
    "ema",
    "linear",
    "lora_deltas",
    "merge_deltas",
    "merge_state_dicts",
    "sma",
    "ties",
]

METHODS: dict[str, Callable[..., Tensor]] = {"ties": ties, "linear": linear}


@dataclass
class MergeStatistics:
    """What a merge did, gathered tensor by tensor."""

    squared_norm: float = 0.0
    members: list[float] = field(default_factory=list)  # squared norms
    dots: list[float] = field(default_factory=list)  # of each member with the result
    conflicts: int = 0
    moved: int = 0
    nonzero: int = 0
    elements: int = 0

    def add(self, taus: Sequence[Tensor], merged: Tensor) -> None:
        """Count one tensor."""
        if not self.members:
            self.members, self.dots = [0.0] * len(taus), [0.0] * len(taus)
        self.squared_norm += float(merged.square().sum())
        for i, tau in enumerate(taus):
            self.members[i] += float(tau.square().sum())
            self.dots[i] += float((tau * merged).sum())
        up, down = torch.zeros_like(merged, dtype=torch.bool), torch.zeros_like(merged, dtype=torch.bool)
        for tau in taus:
            up |= tau > 0
            down |= tau < 0
        self.conflicts += int((up & down).sum())
        self.moved += int((up | down).sum())
        self.nonzero += int((merged != 0).sum())
        self.elements += merged.numel()

    def result(self) -> dict[str, float]:
        """Norms, share of entries whose members disagree in sign, density, and cosine of the result to each end."""
        norm = self.squared_norm**0.5
        cosines = [d / max(norm * m**0.5, 1e-30) for d, m in zip(self.dots, self.members, strict=True)]
        return {
            "merge/members": float(len(self.members)),
            "merge/norm": norm,
            "merge/norm_newest": self.members[-1] ** 0.5,
            "merge/sign_conflicts": self.conflicts / max(1, self.moved),
            "merge/density": self.nonzero / max(1, self.elements),
            "merge/cosine_newest": cosines[-1],
            "merge/cosine_oldest": cosines[0],
        }


def merge_deltas(
    members: Sequence[Callable[[str], Tensor]],
    names: Sequence[str],
    weights: Sequence[float],
    *,
    method: str,
    density: float = 0.8,
    normalize: bool = True,
    statistics: MergeStatistics | None = None,
) -> Iterator[tuple[str, Tensor]]:
    """Merged task vectors, one tensor of each member in memory at a time.

    Args:
        members: each gives the fp32 delta of a name.
        names: the tensors, in the order wanted.
        weights: one a member.
        method: a key of METHODS.
        density: TIES' share of entries kept.
        normalize: divide by the weights.
        statistics: filled on the way.

    Raises:
        ValueError: an unknown method, a density outside (0, 1], weights that do not fit, or a value that is not finite.
    """
    if method not in METHODS:
        raise ValueError(f"merge method '{method}' is not known: choose one of {', '.join(METHODS)}")
    if not 0 < density <= 1:
        raise ValueError(f"density={density} must be above 0 and at most 1")
    if len(weights) != len(members) or not members:
        raise ValueError(f"{len(members)} checkpoints and {len(weights)} weights do not fit")
    for name in names:
        taus = [member(name) for member in members]
        for i, tau in enumerate(taus):
            if not bool(torch.isfinite(tau).all()):
                raise ValueError(f"'{name}' of checkpoint {i + 1} holds values that are not finite")
        merged = METHODS[method](taus, weights, density=density, normalize=normalize)
        if statistics is not None:
            statistics.add(taus, merged)
        yield name, merged


def merge_state_dicts(
    base: Mapping[str, Tensor],
    members: Sequence[Mapping[str, Tensor]],
    weights: Sequence[float],
    method: str = "ties",
    density: float = 0.8,
    normalize: bool = True,
    lam: float = 1.0,
) -> dict[str, Tensor]:
    """theta_merged = theta_init + lam * tau_merged, in memory; arithmetic in fp32, the base's dtype kept."""
    deltas = [dense_deltas(base, member) for member in members]
    merged = merge_deltas(
        [d.__getitem__ for d in deltas], list(base), weights, method=method, density=density, normalize=normalize
    )
    return {name: (base[name].float() + lam * tau).to(base[name].dtype) for name, tau in merged}
