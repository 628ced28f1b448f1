"""NaN and infinity stop a stage, with the tensor's name."""

import torch
from torch import Tensor


class NonFiniteError(FloatingPointError):
    """A NaN or an infinity where there must be none; the message names the tensor."""


def require_finite(tensor: Tensor, name: str) -> None:
    """Raise NonFiniteError if any of the tensor's values is NaN or infinite."""
    wrong = ~torch.isfinite(tensor)
    if bool(wrong.any()):
        raise NonFiniteError(
            f"{name} hold {float(tensor.detach()[wrong][0])}: the stage stops, what was published before stands."
        )
