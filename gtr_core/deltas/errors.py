"""The error of checkpoints that do not belong together."""

from gtr_core.util.errors import UserError


class MergeError(UserError, ValueError):
    """Checkpoints that cannot be merged, or a merge that cannot be made; one sentence that names the first reason."""
