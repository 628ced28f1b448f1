"""How much each checkpoint counts, oldest first."""


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
