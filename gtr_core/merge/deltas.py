"""Task vectors: what training moved, as dense differences from the start.

LoRA checkpoints are merged as B A * scaling, never factor by factor: the factors of one and the same delta are only
defined up to an invertible matrix, and their merge depends on it (PAPER.md 6.1.2, invariant 8).
"""

from collections.abc import Mapping

from torch import Tensor


def dense_deltas(base: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """theta - theta_init in fp32.

    Raises:
        ValueError: names or shapes differ; names the first difference.
    """
    odd = sorted(base.keys() ^ weights.keys())
    if odd:
        side = "start" if odd[0] in base else "checkpoint"
        raise ValueError(f"these checkpoints do not belong together: '{odd[0]}' is in the {side} only")
    for name, tensor in weights.items():
        if tensor.shape != base[name].shape:
            raise ValueError(
                f"these checkpoints do not belong together: '{name}' is {tuple(tensor.shape)} in one and "
                f"{tuple(base[name].shape)} in the start"
            )
    return {name: weights[name].float() - base[name].float() for name in base}


def lora_deltas(adapter: Mapping[str, Tensor], rank: int, alpha: float) -> dict[str, Tensor]:
    """B A * alpha / rank in fp32 for every target, by the name of the weight it is added to.

    Args:
        adapter: `<module>.lora_A...weight` (r, in) and `<module>.lora_B...weight` (out, r).
        rank: r.
        alpha: LoRA's alpha.

    Raises:
        ValueError: a tensor that is neither an A nor a B, or one without its partner.
    """
    modules = sorted({name.partition(".lora_")[0] for name in adapter})
    deltas = {}
    for module in modules:
        own = {n[len(module) :]: t for n, t in adapter.items() if n.startswith(module + ".lora_")}
        a = next((t for n, t in own.items() if n.startswith(".lora_A")), None)
        b = next((t for n, t in own.items() if n.startswith(".lora_B")), None)
        if a is None or b is None or len(own) != 2:
            raise ValueError(
                f"the adapter of '{module}' is not a pair of A and B: {', '.join(sorted(own)) or 'nothing'}"
            )
        deltas[f"{module}.weight"] = b.float() @ a.float() * (alpha / rank)
    return deltas
