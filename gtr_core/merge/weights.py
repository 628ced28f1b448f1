"""How much each checkpoint counts, oldest first."""

from gtr_core.config import MergeConfig


def sma(n: int) -> list[float]:
    """Equal weights 1/n (PAPER.md 1.4)."""
    if n < 1:
        raise ValueError("weights need at least one checkpoint")
    return [1.0 / n] * n


def ema(n: int, alpha: float) -> list[float]:
    """The unrolled recursion merged_k = alpha * theta_k + (1 - alpha) * merged_{k-1}, merged_1 = theta_1 (1.4).

    Weight alpha * (1 - alpha)^(n-i) for i = 2..n and (1 - alpha)^(n-1) for the first; they sum to 1.
    """
    if n < 1:
        raise ValueError("weights need at least one checkpoint")
    if not 0 < alpha <= 1:
        raise ValueError(f"alpha={alpha} must be above 0 and at most 1")
    return [(1 - alpha) ** (n - 1)] + [alpha * (1 - alpha) ** (n - i) for i in range(2, n + 1)]


def full_buffer_weights(config: MergeConfig, n: int) -> list[float]:
    """Of n checkpoints merged anew; while there are fewer than `explicit` names, its last ones are theirs."""
    if config.weights == "explicit":
        return list(config.explicit)[-n:]
    return sma(n) if config.weights == "sma" else ema(n, config.ema_alpha)


def incremental_weights(config: MergeConfig, merges: int) -> list[float]:
    """Of the last teacher and the newest checkpoint, in the merge number `merges` = 2, 3, ...; of that alone in 1.

    Unrolled they are `full_buffer_weights`, so that at lam 1 a linear merge is the same either way. No other method's
    is (invariant 12): TIES of a teacher that was already trimmed and elected is not TIES of the checkpoints.
    """
    if merges == 1:
        return [1.0]
    newest = 1.0 / merges if config.weights == "sma" else config.ema_alpha
    return [1.0 - newest, newest]
