"""95 % intervals against values published or computed by hand."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gtr_core.evaluation.intervals import normal, student, wilson


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [
        (81, 263, 0.2553, 0.3662),  # Newcombe 1998, table I
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
        (5, 10, 0.2366, 0.7634),
        (10, 10, 0.7225, 1.0000),
        (107, 200, 0.4659, 0.6028),
    ],
)
def test_wilsons_interval_has_its_known_values(successes: int, n: int, low: float, high: float) -> None:
    assert wilson(successes, n) == pytest.approx((low, high), abs=6e-5)


@given(st.integers(1, 2000), st.data())
def test_wilsons_ends_solve_its_equation_and_hold_the_proportion(n: int, data: st.DataObject) -> None:
    """|p - q| = z sqrt(q (1 - q) / n) at both ends q, inside [0, 1], mirrored for failures."""
    k = data.draw(st.integers(0, n))
    low, high = wilson(k, n)
    assert 0 <= low <= k / n + 1e-12 and k / n - 1e-12 <= high <= 1 and low < high
    for end in (low, high):
        assert abs(k / n - end) == pytest.approx(1.959964 * math.sqrt(end * (1 - end) / n), abs=1e-6)
    assert wilson(n - k, n) == pytest.approx((1 - high, 1 - low))


def test_more_episodes_make_it_narrower() -> None:
    widths = [high - low for low, high in (wilson(n // 2, n) for n in (10, 100, 1000))]
    assert widths[0] > widths[1] > widths[2]


def test_no_episodes_have_no_interval() -> None:
    with pytest.raises(ValueError, match="at least one episode"):
        wilson(0, 0)


def test_the_normal_interval_of_a_mean() -> None:
    """Deviation of 1..5 is sqrt(2.5)."""
    half = 1.959964 * math.sqrt(2.5 / 5)
    assert normal([1, 2, 3, 4, 5]) == pytest.approx((3 - half, 3 + half), abs=1e-5)
    assert normal([4.0]) == (4.0, 4.0) and normal([2.0, 2.0]) == (2.0, 2.0)


def test_students_interval_of_a_mean_has_its_tabled_quantiles() -> None:
    """t(0.975) is 12.7062 for 1 degree of freedom and 2.7764 for 4; deviation of 1..5 is sqrt(2.5)."""
    assert student([0.0, 2.0]) == pytest.approx((1 - 12.7062, 1 + 12.7062), abs=1e-3)
    half = 2.7764 * math.sqrt(2.5 / 5)
    assert student([1, 2, 3, 4, 5]) == pytest.approx((3 - half, 3 + half), abs=1e-3)
    with pytest.raises(ValueError, match="at least two"):
        student([1.0])
