"""The same numbers as mergekit's, wherever both say the same thing.

Both are given fp32 deltas: mergekit computes in the number type it is given, and this project in fp32. DARE and DELLA
draw masks, so mergekit is given the task vectors after they were dropped, at density 1. mergekit rescales what is
left to the old L1 norm, and this project divides by the chance to be kept, as the papers do.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from gtr_core.config import MergeConfig
from gtr_core.merge import merge_state_dicts
from gtr_core.merge.dare import drop
from gtr_core.merge.della import keep_chance
from gtr_core.seeding.streams import torch_generator
from tests.merge.made import MERGE_FUNCTIONS, random_taus, random_weights

WHY = "PARITY WITH MERGEKIT WAS NOT CHECKED: it is not installed here (pip install 'mergekit>=0.1.5,<0.2')"
registry = pytest.importorskip("mergekit.merge_methods.registry", reason=WHY)
base_module = pytest.importorskip("mergekit.merge_methods.base", reason=WHY)

SHAPES = [(37,), (12, 17), (3, 5, 7), (64, 48)]
DTYPES = [torch.float32, torch.bfloat16, torch.float16]
every_shape = pytest.mark.parametrize("shape", SHAPES, ids=str)
every_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=lambda d: str(d).removeprefix("torch."))
every_density = pytest.mark.parametrize("density", [0.1, 0.2, 0.5, 0.8, 1.0])
either_way = pytest.mark.parametrize("normalize", [True, False], ids=["normalised", "summed"])
every_count = pytest.mark.parametrize("n", [1, 2, 5])


def theirs(method: str, start: Tensor, members: Sequence[Tensor], weights: Sequence[float], **settings: Any) -> Tensor:
    """mergekit's merge of one tensor, in fp32, by its registry."""
    group = base_module.TensorGroup.from_tensors([start.float(), *(m.float() for m in members)], base_index=0)
    numbers = range(1, len(members) + 1)
    by_member = {k: dict.fromkeys(numbers, v) for k, v in settings.items() if k in ("density", "gamma")}
    shared = {"int8_mask": False, "rescale": False, "lambda": 1.0, **settings, **by_member}
    merged: Tensor = registry.get(method).merge_group(group, weight=dict(zip(numbers, weights, strict=True)), **shared)
    return merged


def ours(start: Tensor, members: Sequence[Tensor], weights: Sequence[float], **settings: Any) -> Tensor:
    return merge_state_dicts({"w": start}, [{"w": m} for m in members], weights, **settings)["w"]


def case(
    shape: tuple[int, ...], n: int, dtype: torch.dtype, member_dtype: torch.dtype | None = None
) -> tuple[Tensor, list[Tensor], list[float]]:
    """A start, members moved away from it, and weights that do not sum to 1."""
    first, *deltas = random_taus(n + 1, shape, seed=len(shape) + n)
    start = first.to(dtype)
    members = [(start.float() + 0.1 * delta).to(member_dtype or dtype) for delta in deltas]
    return start, members, random_weights(n, seed=n)


def check(mine: Tensor, other: Tensor) -> None:
    """Equal but for the order of fp32 sums, which in half precision may turn a rare rounding over."""
    step = {torch.float32: 2e-6, torch.bfloat16: 2**-7, torch.float16: 2**-10}[mine.dtype]
    torch.testing.assert_close(mine, other.to(mine.dtype), rtol=step, atol=1e-6)
    if mine.dtype != torch.float32:
        assert (mine != other.to(mine.dtype)).float().mean() < 0.02


@every_shape
@every_density
@every_dtype
@either_way
@every_count
def test_ties(shape: tuple[int, ...], density: float, dtype: torch.dtype, normalize: bool, n: int) -> None:
    """Invariant 2. Members in fp32 on a start of any type: no two of their deltas have one size, and which of several
    equal ones is kept is each project's own rule."""
    start, members, weights = case(shape, n, dtype, torch.float32)
    mine = ours(start, members, weights, method="ties", density=density, normalize=normalize)
    check(mine, theirs("ties", start, members, weights, density=density, normalize=normalize))


@every_density
@either_way
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_ties_of_members_in_half_precision(density: float, normalize: bool, dtype: torch.dtype) -> None:
    """Consecutive bit patterns are numbers of different size: deltas from 0 without equals."""
    generator = torch.Generator().manual_seed(0)
    patterns = [0x3000 + torch.randperm(600, generator=generator).to(torch.int16) for _ in range(3)]
    signs = [torch.randint(0, 2, (600,), generator=generator) * 2 - 1 for _ in range(3)]
    members = [p.view(dtype) * s for p, s in zip(patterns, signs, strict=True)]
    assert all(m.abs().unique().numel() == 600 for m in members)
    start, weights = torch.zeros(600, dtype=dtype), [0.5, 0.2, 0.6]
    mine = ours(start, members, weights, method="ties", density=density, normalize=normalize)
    check(mine, theirs("ties", start, members, weights, density=density, normalize=normalize))


@every_shape
@every_dtype
@either_way
@every_count
def test_task_arithmetic(shape: tuple[int, ...], dtype: torch.dtype, normalize: bool, n: int) -> None:
    start, members, weights = case(shape, n, dtype)
    mine = ours(start, members, weights, method="task_arithmetic", normalize=normalize, lam=0.6)
    check(mine, theirs("task_arithmetic", start, members, weights, normalize=normalize, **{"lambda": 0.6}))


@every_shape
@every_dtype
@every_count
def test_linear(shape: tuple[int, ...], dtype: torch.dtype, n: int) -> None:
    """mergekit's is of weights and not of task vectors: the same mean when weights are divided by their sum."""
    start, members, weights = case(shape, n, dtype)
    batch = base_module.TensorBatch(tuple(m.float()[None] for m in members))
    mean = registry.linear_merge.implementation(batch, torch.tensor([weights]), normalize=True)[0]
    check(ours(start, members, weights, method="linear"), mean)


@every_shape
@either_way
def test_linear_of_task_vectors(shape: tuple[int, ...], normalize: bool) -> None:
    """Undivided too, where there is no start to be scaled along."""
    _, taus, weights = case(shape, 3, torch.float32)
    batch = base_module.TensorBatch(tuple(tau[None] for tau in taus))
    other = registry.linear_merge.implementation(batch, torch.tensor([weights]), normalize=normalize)[0]
    check(ours(torch.zeros(shape), taus, weights, method="linear", normalize=normalize), other)


@every_shape
@every_dtype
@pytest.mark.parametrize("t", [0.0, 0.3, 0.5, 1.0])
def test_slerp(shape: tuple[int, ...], dtype: torch.dtype, t: float) -> None:
    """Of task vectors; mergekit's, given these, makes the same one."""
    start, members, _ = case(shape, 2, dtype)
    weights = [1 - t, t]
    slerp = pytest.importorskip("mergekit.merge_methods.slerp", reason=WHY).slerp
    first, second = ((m.float() - start.float())[None] for m in members)
    tau = slerp(torch.tensor([t]), first, second)[0]
    check(ours(start, members, weights, method="slerp"), start.float() + tau)


@every_shape
@every_density
@every_dtype
@either_way
@pytest.mark.parametrize("gamma", [0.0, 0.01, 0.15])
def test_breadcrumbs(shape: tuple[int, ...], density: float, dtype: torch.dtype, normalize: bool, gamma: float) -> None:
    start, members, weights = case(shape, 3, dtype, torch.float32)
    config = MergeConfig(method="breadcrumbs", density=density, gamma=gamma, normalize=normalize)
    taus = [m - start.float() for m in members]
    tau = MERGE_FUNCTIONS["breadcrumbs"](taus, weights, config, partial(torch_generator, "unused"))
    other = theirs("breadcrumbs", start, members, weights, density=density, gamma=gamma, normalize=normalize)
    check((start.float() + tau).to(dtype), other)


@every_shape
@every_density
@either_way
@pytest.mark.parametrize("method", ["dare_linear", "dare_ties", "della"])
def test_dropped_out_task_vectors(shape: tuple[int, ...], density: float, normalize: bool, method: str) -> None:
    """With our masks; at density 1 with none."""
    _, taus, weights = case(shape, 3, torch.float32)
    draw = partial(torch_generator, "parity", method)
    epsilon = 0.05
    config = MergeConfig(method=method, density=density, normalize=normalize, epsilon=epsilon)
    chances = [keep_chance(tau, density, epsilon) if method == "della" else density for tau in taus]
    dropped = [drop(tau, chance, draw(i)) for i, (tau, chance) in enumerate(zip(taus, chances, strict=True))]
    assert density == 1 or any((tau == 0).any() for tau in dropped)
    other = {"dare_linear": "dare_linear", "dare_ties": "dare_ties", "della": "ties"}[method]
    expected = theirs(other, torch.zeros(shape), dropped, weights, density=1.0, normalize=normalize)
    check(MERGE_FUNCTIONS[method](taus, weights, config, draw), expected)


@every_shape
@pytest.mark.parametrize("epsilon", [0.05, 0.15])
def test_dellas_chances(shape: tuple[int, ...], epsilon: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """What mergekit draws its mask with."""
    sparsify = pytest.importorskip("mergekit.sparsify", reason=WHY)
    drawn: list[Tensor] = []
    monkeypatch.setattr(torch, "bernoulli", lambda chance: drawn.append(chance) or torch.ones_like(chance))
    (tau,) = random_taus(1, shape, seed=4)
    sparsify.della_magprune(tau.flatten(1) if tau.dim() > 2 else tau, density=0.4, epsilon=epsilon)
    torch.testing.assert_close(keep_chance(tau, 0.4, epsilon).flatten(), drawn[0].flatten())


@every_shape
@every_dtype
@pytest.mark.parametrize("n", [2, 5])
def test_model_stock(shape: tuple[int, ...], dtype: torch.dtype, n: int) -> None:
    """Of members that went one way, each with a part of its own; for those that did not see `model_stock`."""
    start, members, _ = case(shape, n, dtype)
    (way,) = random_taus(1, shape, seed=77)
    members = [(m.float() + 0.1 * way).to(dtype) for m in members]
    group = base_module.TensorGroup.from_tensors([start.float(), *(m.float() for m in members)], base_index=0)
    expected = registry.model_stock_merge_method.implementation(group)
    check(ours(start, members, [1.0] * n, method="model_stock"), expected)
