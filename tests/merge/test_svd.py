"""A dense task vector as an adapter of a stated rank."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gtr_core.merge import MergeError, lora_deltas, low_rank, to_adapter
from tests.merge.made import quick, random_taus, seeds


@quick
@given(seeds, st.sampled_from([(6, 5), (4, 9), (8, 8)]), st.integers(1, 10))
def test_the_error_is_that_of_the_product_and_the_least_possible(seed: int, shape: tuple[int, int], rank: int) -> None:
    """Eckart-Young: what is lost are the singular values beyond the rank."""
    (delta,) = random_taus(1, shape, seed)
    factors = low_rank(delta, rank)
    assert factors.a.shape == (rank, shape[1]) and factors.b.shape == (shape[0], rank)
    measured = ((delta - factors.b @ factors.a).norm() / delta.norm()).item()
    assert factors.error == pytest.approx(measured, abs=1e-5)
    values = torch.linalg.svdvals(delta.double())
    assert factors.error == pytest.approx((values[rank:].norm() / values.norm()).item(), abs=1e-5)


def test_a_product_of_the_rank_is_recovered_and_zero_is_zero() -> None:
    a, b = random_taus(1, (3, 20), 1)[0], random_taus(1, (15, 3), 2)[0]
    factors = low_rank(b @ a, 3)
    assert factors.error < 1e-5
    torch.testing.assert_close(factors.b @ factors.a, b @ a, rtol=1e-4, atol=1e-4)
    nothing = low_rank(torch.zeros(4, 5), 2)
    assert nothing.error == 0 and not nothing.a.any() and not nothing.b.any()


def test_a_large_matrix_is_decomposed_as_well_by_iteration() -> None:
    """The singular values of a merge fall slowly; the error is at most one per cent above the least possible."""
    left, _ = torch.linalg.qr(random_taus(1, (300, 200), 1)[0])
    right, _ = torch.linalg.qr(random_taus(1, (250, 200), 2)[0])
    values = torch.arange(1, 201).float() ** -0.5
    delta = left * values @ right.T
    factors = low_rank(delta, 8)
    assert factors.a.shape == (8, 250) and factors.b.shape == (300, 8)
    measured = ((delta - factors.b @ factors.a).norm() / delta.norm()).item()
    assert factors.error == pytest.approx(measured, abs=1e-5)
    least = (values[8:].norm() / values.norm()).item()
    assert least <= measured + 1e-6 and measured < 1.01 * least
    assert torch.equal(low_rank(delta, 8).a, factors.a), "no global random state plays a part"


def test_an_adapter_is_peft_s_with_the_whole_error() -> None:
    """Read back through its own scaling it is the task vectors up to that error."""
    shapes = {"x.first.weight": (8, 6), "x.second.weight": (6, 8)}
    deltas = {name: random_taus(1, shape, i)[0] for i, (name, shape) in enumerate(shapes.items())}
    adapter, error = to_adapter(deltas.items(), rank=2, alpha=16.0)
    read = lora_deltas(adapter, {"r": 2, "lora_alpha": 16.0}, {n: torch.zeros(s) for n, s in shapes.items()})
    assert read.keys() == deltas.keys()
    lost = sum((deltas[n] - read[n]).square().sum() for n in deltas)
    whole = sum(d.square().sum() for d in deltas.values())
    assert error == pytest.approx(float((lost / whole) ** 0.5), rel=1e-4)
    assert 0.1 < error < 0.9
    assert to_adapter(deltas.items(), rank=6, alpha=16.0)[1] < 1e-5


@pytest.mark.parametrize(("name", "shape"), [("x.bias", (4,)), ("x.weight", (4,)), ("x.matrix", (4, 4))])
def test_what_fits_no_adapter_is_refused_by_name(name: str, shape: tuple[int, ...]) -> None:
    with pytest.raises(MergeError, match=f"'{name}'"):
        to_adapter([(name, torch.ones(shape))], rank=2, alpha=2.0)
