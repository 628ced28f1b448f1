"""What a merge did, gathered tensor by tensor."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from gtr_core.deltas.errors import MergeError


@dataclass
class MergeStatistics:
    """Sums over all tensors seen; those marked squared are sums of squared entries."""

    merged: float = 0.0  # squared, of the merged task vector
    members: list[float] = field(default_factory=list)  # squared, of each member's
    dots: list[float] = field(default_factory=list)  # of each member with the merged one
    newest_moved: bool = False  # the newest member is not the second newest, or the start where it is the only one
    teacher_moved: bool = False  # this teacher is not the last one
    change: float = 0.0  # squared, from the last teacher to this one
    moved: float = 0.0  # squared, from the start to this teacher
    conflicts: int = 0  # entries in which members have both signs
    touched: int = 0  # entries that some member moved
    nonzero: int = 0
    elements: int = 0

    def add(self, taus: Sequence[Tensor], merged: Tensor) -> None:
        """Count one tensor's task vectors, oldest first, and their merge."""
        if not self.members:
            self.members, self.dots = [0.0] * len(taus), [0.0] * len(taus)
        self.merged += _squares(merged)
        up, down = torch.zeros_like(merged, dtype=torch.bool), torch.zeros_like(merged, dtype=torch.bool)
        for i, tau in enumerate(taus):
            self.members[i] += _squares(tau)
            self.dots[i] += float(torch.dot(tau.flatten(), merged.flatten()))
            up |= tau > 0
            down |= tau < 0
        before = taus[-2] if len(taus) > 1 else torch.zeros_like(merged)
        self.newest_moved |= not torch.equal(taus[-1], before)
        self.conflicts += int((up & down).sum())
        self.touched += int((up | down).sum())
        self.nonzero += int((merged != 0).sum())
        self.elements += merged.numel()

    def add_teacher(self, teacher: Tensor, last: Tensor, start: Tensor) -> None:
        """Count one tensor of the teacher beside the last teacher's (the start's before the first merge)."""
        self.teacher_moved |= not torch.equal(teacher, last)
        self.change += _squares(teacher.float() - last.float())
        self.moved += _squares(teacher.float() - start.float())

    def result(self) -> dict[str, float]:
        """The metrics of a merge.

        Norms of the merged and the newest task vector; the share of entries whose members disagree in sign, among those
        that some member moved; the share of entries that are not 0; the cosine of the merged task vector to each
        member's; `change`, the distance to the last teacher over the distance to the start; the teacher's drift, which
        is its distance from the start and from the newest member.
        """
        norm = self.merged**0.5
        cosines = [d / max(norm * m**0.5, 1e-30) for d, m in zip(self.dots, self.members, strict=True)]
        scale = (self.moved / self.merged) ** 0.5 if self.merged else 0.0  # lam
        from_newest = self.moved + self.members[-1] - 2 * scale * self.dots[-1]
        return {
            "merge/members": float(len(self.members)),
            "merge/norm": norm,
            "merge/norm_newest": self.members[-1] ** 0.5,
            "merge/sign_conflicts": self.conflicts / max(1, self.touched),
            "merge/density": self.nonzero / max(1, self.elements),
            "merge/cosine_newest": cosines[-1],
            "merge/cosine_oldest": cosines[0],
            **{f"merge/cosine_{i}": cosine for i, cosine in enumerate(cosines, 1)},
            "merge/drift_start": self.moved**0.5,
            "merge/drift_newest": max(0.0, from_newest) ** 0.5,
            "merge/change": (self.change / self.moved) ** 0.5 if self.moved else 0.0,
        }

    def require_change(self) -> None:
        """The teacher has to move when the agent does (invariant 10; the released code's never did, PAPER.md 6.1.1).

        Raises:
            MergeError: it is the last teacher bit for bit, although the newest checkpoint differs from the one before.
        """
        if self.newest_moved and not self.teacher_moved:
            raise MergeError(
                "the merged teacher is equal to the last one although the newest checkpoint is not the one before: "
                "merge.weights gives it no share, or merge.density leaves nothing of it."
            )


def _squares(values: Tensor) -> float:
    return float(values.square().sum())
