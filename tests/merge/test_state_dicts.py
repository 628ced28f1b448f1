"""Merges of whole checkpoints: number types, buffers, and members that do not belong together."""

from functools import partial

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from gtr_core.config import ConfigError, MergeConfig
from gtr_core.merge import Deltas, MergeError, dense_deltas, merge_state_dicts, teacher_tensors
from tests.merge.made import MERGE_FUNCTIONS, RANDOM, checkpoint, quick, random_weights, same, trained

DTYPES = [torch.float32, torch.bfloat16, torch.float16]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("method", MERGE_FUNCTIONS)
def test_one_checkpoint_merges_to_itself(method: str, dtype: torch.dtype) -> None:
    """Invariants 1 and 7: at density 1, to the bit in half precision and to one rounding of start + delta in fp32."""
    start = checkpoint(1, dtype)
    (member,) = trained(start, 1)
    result = merge_state_dicts(start, [member], [1.0], method=method, density=1.0)
    assert {n: t.dtype for n, t in result.items()} == {n: t.dtype for n, t in start.items()}
    for name, tensor in member.items():
        torch.testing.assert_close(result[name], tensor, rtol=1e-6 if dtype == torch.float32 else 0, atol=1e-6)


@quick
@given(st.sampled_from(sorted(MERGE_FUNCTIONS)), st.sampled_from(DTYPES), st.integers(1, 4))
def test_where_nothing_moved_the_start_is_left_as_it_is(method: str, dtype: torch.dtype, n: int) -> None:
    """Invariant 7."""
    start = checkpoint(1, dtype)
    assert same(merge_state_dicts(start, [start] * n, random_weights(n, n), method=method), start)


def test_arithmetic_is_in_fp32() -> None:
    """Invariant 7: 256 deltas of 1/256 on a start of 1 are lost one by one in bf16, and their mean is not."""
    start = {"w": torch.ones(4, dtype=torch.bfloat16)}
    ends = [{"w": torch.full((4,), 1 + 2**-7 * (i % 2), dtype=torch.bfloat16)} for i in range(4)]
    result = merge_state_dicts(start, ends, [1.0] * 4, method="linear", lam=2.0)
    assert result["w"].tolist() == [1 + 2**-7] * 4


def test_lambda_scales_the_merged_task_vector() -> None:
    start = {"w": torch.tensor([1.0, 2.0])}
    member = {"w": torch.tensor([2.0, 0.0])}
    assert merge_state_dicts(start, [member], [1.0], density=1.0, lam=0.5)["w"].tolist() == [1.5, 1.0]


def test_integer_and_boolean_buffers_are_kept_and_must_agree() -> None:
    """Invariant 7."""
    start = {"w": torch.zeros(2), "positions": torch.arange(3), "mask": torch.tensor([True, False])}
    member = {**start, "w": torch.ones(2)}
    result = merge_state_dicts(start, [member, member], [0.5, 0.5])
    assert torch.equal(result["positions"], start["positions"]) and torch.equal(result["mask"], start["mask"])
    with pytest.raises(MergeError, match=r"'positions' holds torch\.int64, which is not merged, and differs"):
        merge_state_dicts(start, [{**member, "positions": torch.arange(1, 4)}], [1.0])


def test_members_may_have_another_number_type_than_the_start() -> None:
    start = checkpoint(1, torch.bfloat16)
    members = [{n: t.float() if t.is_floating_point() else t for n, t in m.items()} for m in trained(start, 2)]
    exact = merge_state_dicts(start, trained(start, 2), [0.5, 0.5])
    assert same(merge_state_dicts(start, members, [0.5, 0.5]), exact)


def test_a_merge_changes_none_of_its_inputs() -> None:
    start = checkpoint(1)
    members = trained(start, 3)
    copies = [{n: t.clone() for n, t in m.items()} for m in (start, *members)]
    for method in MERGE_FUNCTIONS:
        merge_state_dicts(start, members, [0.2, 0.3, 0.5], method=method, density=0.5)
    assert all(same(a, b) for a, b in zip((start, *members), copies, strict=True))


@pytest.mark.parametrize("method", RANDOM)
def test_masks_come_from_the_seed_the_tensors_name_and_the_member_alone(method: str) -> None:
    start = checkpoint(1)
    members = trained(start, 2)
    whole = merge_state_dicts(start, members, [0.5, 0.5], method=method, density=0.5, seed=7)
    name = "a.weight"
    alone = merge_state_dicts(
        {name: start[name]}, [{name: m[name]} for m in members], [0.5, 0.5], method=method, density=0.5, seed=7
    )
    assert torch.equal(alone[name], whole[name])
    other = merge_state_dicts(start, members, [0.5, 0.5], method=method, density=0.5, seed=8)
    assert not torch.equal(other[name], whole[name])
    ones = {n: torch.ones(20, 20) for n in ("a", "b")}
    twins = merge_state_dicts({n: torch.zeros(20, 20) for n in ones}, [ones], [1.0], method=method, density=0.5)
    assert not torch.equal(twins["a"], twins["b"])


def test_members_that_do_not_belong_together_are_refused_by_the_first_difference() -> None:
    """Invariant 7: another name, another shape, another kind of number."""
    start = checkpoint(1)
    (good,) = trained(start, 1)
    fewer = {n: t for n, t in good.items() if n != "b.weight"}
    for bad, says in (
        (fewer, "'b.weight' is in the start only"),
        ({**good, "extra": torch.zeros(1)}, "'extra' is in the checkpoint only"),
        ({**good, "a.bias": torch.zeros(5)}, r"'a.bias' is \(5,\) in the checkpoint and \(4,\) in the start"),
        ({**good, "a.bias": torch.zeros(4, dtype=torch.int32)}, "'a.bias' holds torch.int32 in the checkpoint"),
    ):
        with pytest.raises(MergeError, match=says) as caught:
            merge_state_dicts(start, [good, bad], [0.5, 0.5])
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_value_that_is_not_finite_is_refused_with_its_tensor(value: float) -> None:
    start = checkpoint(1)
    good, bad = trained(start, 2)
    bad["a.weight"][2, 3] = value
    with pytest.raises(MergeError, match=r"'a\.weight' of checkpoint 2 holds values that are not finite"):
        merge_state_dicts(start, [good, bad], [0.5, 0.5])


def test_a_teacher_beyond_its_number_type_is_refused() -> None:
    start = {"w": torch.full((2,), 60000.0, dtype=torch.float16)}
    member = {"w": torch.full((2,), 64000.0, dtype=torch.float16)}
    with pytest.raises(MergeError, match=r"'w' of the teacher leaves the range of torch.float16: lower merge.lam"):
        merge_state_dicts(start, [member], [1.0], lam=3.0)


@pytest.mark.parametrize(
    ("weights", "says"),
    [([0.5], "2 checkpoints and 1 weights"), ([float("nan"), 1.0], "finite"), ([1.0, -1.0], "not sum to 0")],
)
def test_weights_that_do_not_fit_are_refused(weights: list[float], says: str) -> None:
    start = checkpoint(1)
    with pytest.raises(MergeError, match=says):
        merge_state_dicts(start, trained(start, 2), weights)


def test_settings_that_do_not_exist_are_answered_with_the_nearest() -> None:
    start = checkpoint(1)
    with pytest.raises(ConfigError, match="did you mean 'ties'"):
        merge_state_dicts(start, [start], [1.0], method="tie")
    with pytest.raises(ConfigError, match="above 0 and at most 1"):
        merge_state_dicts(start, [start], [1.0], density=0.0)
    with pytest.raises(MergeError, match=r"chooses members by episodes .* choose one of ties, linear"):
        merge_state_dicts(start, [start], [1.0], method="greedy_soup")
    with pytest.raises(MergeError, match="0 checkpoints"):
        merge_state_dicts(start, [], [])


def test_task_vectors_are_computed_when_they_are_asked_for() -> None:
    """So that a merge of many checkpoints holds one tensor of each."""
    start = checkpoint(1)
    (member,) = trained(start, 1)
    deltas = dense_deltas(start, member)
    assert set(deltas) == set(start) - {"positions"} and len(deltas) == 4
    member["scale"].fill_(5.0)
    assert deltas["scale"].item() == pytest.approx(5.0 - start["scale"].item())


def test_a_merge_computes_each_task_vector_once() -> None:
    """Asking whether a member moves a tensor, or which it moves, computes nothing."""
    start, asked = {n: torch.zeros(2) for n in "abc"}, list[str]()

    def compute(name: str) -> Tensor:
        asked.append(name)
        return torch.ones(2)

    members = [Deltas({n: partial(compute, n) for n in "abc"}) for _ in range(2)]
    dict(teacher_tensors(start, members, [0.5, 0.5], MergeConfig()))
    assert asked == ["a", "a", "b", "b", "c", "c"]
