"""LoRA adapters are merged as products, with peft's own scaling, or refused by name."""

from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from peft.utils import get_peft_model_state_dict
from torch import Tensor, nn

from gtr_core.config import MergeConfig
from gtr_core.merge import MergeError, lora_deltas, teacher_tensors
from tests.merge.made import random_taus, random_weights


class Net(nn.Module):
    """Linear layers of two widths, an embedding, a convolution, a head."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(9, 6)
        self.first = nn.Linear(6, 8)
        self.second = nn.Linear(8, 6)
        self.conv = nn.Conv1d(6, 6, 3)
        self.head = nn.Linear(6, 3)


def adapted(**settings: Any) -> tuple[dict[str, Tensor], dict[str, Any], dict[str, Tensor], nn.Module]:
    """An adapter file's tensors, its settings as JSON has them, the start, and peft's model of both."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = Net()
        start = {n: p.detach().clone() for n, p in net.named_parameters()}
        config = LoraConfig(**({"r": 4, "lora_alpha": 8, "target_modules": ["first", "second"]} | settings))
        model = get_peft_model(net, config)
        with torch.no_grad():
            for p in model.parameters():
                if p.requires_grad:
                    p.add_(torch.randn_like(p))
        adapter = {n: t.detach().clone() for n, t in get_peft_model_state_dict(model).items()}
    return adapter, config.to_dict(), start, model


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"use_rslora": True},
        {"rank_pattern": {"first": 2}},
        {"alpha_pattern": {"second": 32}},
        {"rank_pattern": {"first": 2}, "alpha_pattern": {"first": 3, "second": 5}, "use_rslora": True},
        {"target_modules": ["first", "embed"]},
        {"modules_to_save": ["head"]},
        {"bias": "lora_only"},
        {"bias": "all"},
    ],
    ids=str,
)
def test_start_plus_task_vectors_is_what_peft_merges_into_its_model(settings: dict[str, Any]) -> None:
    """Invariant 8: the scaling that peft uses for every module, and what an adapter holds whole."""
    adapter, config, start, model = adapted(**settings)
    deltas = lora_deltas(adapter, config, start)
    expected = dict(model.merge_and_unload().named_parameters())  # type: ignore[operator]
    assert any(not torch.equal(expected[n], start[n]) for n in start)
    for name, own in start.items():
        torch.testing.assert_close(own + deltas[name] if name in deltas else own, expected[name].detach(), msg=name)


def gauge(adapter: dict[str, Tensor], seed: int) -> dict[str, Tensor]:
    """Other factors of the same products: A -> R A, B -> B R^-1 with a random rotation R."""
    changed = {}
    for name, a in adapter.items():
        if "lora_A" in name:
            rotation = torch.linalg.qr(random_taus(1, (len(a), len(a)), seed)[0])[0]
            changed[name] = rotation @ a
            other = name.replace("lora_A", "lora_B")
            changed[other] = adapter[other] @ rotation.T
    return changed


@pytest.mark.parametrize("method", ["ties", "linear", "slerp", "model_stock"])
def test_the_teacher_does_not_depend_on_how_a_product_is_factored(method: str) -> None:
    """Invariant 8; merging A and B apart differs by more than the whole task vector (PAPER.md 6.1.2)."""
    first, config, start, _ = adapted()
    second = {n: t + 0.5 * random_taus(1, tuple(t.shape), 5)[0] for n, t in first.items()}
    members = [first, second]
    rotated = [gauge(m, i) for i, m in enumerate(members)]
    teachers = [
        dict(
            teacher_tensors(
                start, [lora_deltas(m, config, start) for m in some], random_weights(2, 1), MergeConfig(method=method)
            )
        )
        for some in (members, rotated)
    ]
    for name in start:
        torch.testing.assert_close(teachers[1][name], teachers[0][name], rtol=1e-4, atol=1e-4)
    assert not torch.equal(teachers[0]["first.weight"], start["first.weight"])
    assert torch.equal(teachers[0]["head.weight"], start["head.weight"]), "what nobody trains is the start's"


@pytest.mark.filterwarnings("ignore::UserWarning")  # peft's own doubts about saving a bias of B
@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"use_dora": True}, "use_dora=True"),
        ({"lora_bias": True, "bias": "none"}, "lora_bias=True"),
        ({"bias": "all", "modules_to_save": ["head"]}, r"'head\.original_module\.bias' of the adapter is no LoRA"),
        ({"target_modules": ["conv"]}, "'conv' is of a convolution"),
        ({"trainable_token_indices": {"embed": [1]}}, "trainable_token_indices="),
    ],
)
def test_what_is_not_plain_lora_is_refused_by_name(settings: dict[str, Any], says: str) -> None:
    adapter, config, start, _ = adapted(**settings)
    with pytest.raises(MergeError, match=says) as caught:
        lora_deltas(adapter, config, start)
    assert "\n" not in str(caught.value)


def test_adapters_that_do_not_fit_are_refused_by_the_first_difference() -> None:
    adapter, config, start, _ = adapted()
    a = "base_model.model.first.lora_A.weight"
    without = {n: t for n, t in adapter.items() if n != a}
    smaller = {n: t[:2] if n == a else t for n, t in adapter.items()}
    for some, settings, base, says in (
        (without, config, start, "'first' is not a pair of A and B"),
        (smaller, config, start, "but its settings say rank 4"),
        (adapter, config | {"rank_pattern": {"first": 3}}, start, "but its settings say rank 3"),
        (
            adapter,
            config,
            {n: t for n, t in start.items() if "first" not in n},
            "'first.weight' is in the adapter only",
        ),
        (adapter, config, start | {"first.weight": torch.zeros(8, 5)}, r"is \(8, 6\) in the adapter and \(8, 5\)"),
        (
            adapter | {"value_head.weight": torch.zeros(1)},
            config,
            start,
            "'value_head.weight' of the adapter is no LoRA",
        ),
        (adapter | {"head.bias": torch.zeros(4)}, config, start, r"'head.bias' is \(4,\) in the adapter"),
        (adapter, config | {"peft_type": "IA3"}, start, "type IA3"),
    ):
        with pytest.raises(MergeError, match=says):
            lora_deltas(some, settings, base)


def test_adapters_with_other_targets_are_refused() -> None:
    first, config, start, _ = adapted()
    second, other, _, _ = adapted(target_modules=["first"])
    members = [lora_deltas(first, config, start), lora_deltas(second, other, start)]
    with pytest.raises(MergeError, match=r"of checkpoints 1 and 2, only 1 moves 'second\.weight'"):
        dict(teacher_tensors(start, members, [0.5, 0.5], MergeConfig()))
