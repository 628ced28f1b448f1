"""95 % intervals."""

import math
import statistics
from collections.abc import Sequence

from scipy.special import stdtrit

Z = 1.959963984540054


def wilson(successes: int, n: int) -> tuple[float, float]:
    """Wilson's score interval of a proportion; sound near 0 and 1, where the normal one is not.

    Raises:
        ValueError: n is 0.
    """
    if n <= 0:
        raise ValueError("an interval needs at least one episode")
    p = successes / n
    centre = (p + Z**2 / (2 * n)) / (1 + Z**2 / n)
    half = Z / (1 + Z**2 / n) * math.sqrt(p * (1 - p) / n + Z**2 / (4 * n**2))
    return max(0.0, centre - half), min(1.0, centre + half)


def normal(values: Sequence[float]) -> tuple[float, float]:
    """The normal interval of a mean; a single value has no width."""
    n = len(values)
    mean = sum(values) / n
    if n < 2:
        return mean, mean
    deviation = math.sqrt(sum((v - mean) ** 2 for v in values) / (n - 1))
    half = Z * deviation / math.sqrt(n)
    return mean - half, mean + half


def student(values: Sequence[float]) -> tuple[float, float]:
    """Student's t interval of the mean of independent values, one a seed.

    Raises:
        ValueError: fewer than two values, which have no spread to go by.
    """
    n = len(values)
    if n < 2:
        raise ValueError("a t interval needs at least two values")
    half = float(stdtrit(n - 1, 0.975)) * statistics.stdev(values) / math.sqrt(n)
    mean = statistics.fmean(values)
    return mean - half, mean + half
