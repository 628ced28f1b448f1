"""Gradient checkpointing: a layer's activations are computed again in the backward pass instead of kept.

transformers does so in training mode only, which would bring dropout into updates. Here only the layers' own flag is
raised, for one forward pass, and everything inside them stays in eval mode. Without re-entrance the layers' inputs need
no gradients, so adapters on a frozen base get theirs.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from torch import nn
from torch.utils.checkpoint import checkpoint
from transformers.modeling_layers import GradientCheckpointingLayer


def layers_of(model: nn.Module) -> list[GradientCheckpointingLayer]:
    """All layers of a model, of text and pictures."""
    return [m for m in model.modules() if isinstance(m, GradientCheckpointingLayer)]


def recompute_layers(model: nn.Module) -> None:
    """Prepare all layers to be recomputed inside `layers_recomputed`."""
    for layer in layers_of(model):
        layer.gradient_checkpointing = True
        layer._gradient_checkpointing_func = partial(checkpoint, use_reentrant=False, preserve_rng_state=False)


@contextmanager
def layers_recomputed(model: nn.Module) -> Iterator[None]:
    """Forward passes whose layers are recomputed, if they were prepared for it."""
    layers = [layer for layer in layers_of(model) if layer.gradient_checkpointing]
    for layer in layers:
        layer.training = True
    try:
        yield
    finally:
        for layer in layers:
            layer.training = False
