"""From a start and the task vectors of its checkpoints to the teacher's weights, one tensor at a time."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from math import isfinite

import torch
from torch import Tensor

from gtr_core.config import MergeConfig
from gtr_core.config.choices import MERGE_METHODS, load
from gtr_core.deltas.errors import MergeError
from gtr_core.deltas.task_vectors import dense_deltas
from gtr_core.merge.method import Method
from gtr_core.merge.statistics import MergeStatistics
from gtr_core.seeding.streams import torch_generator


def merge_deltas(
    members: Sequence[Mapping[str, Tensor]],
    names: Sequence[str],
    weights: Sequence[float],
    config: MergeConfig,
    *,
    seed: int = 0,
    statistics: MergeStatistics | None = None,
) -> Iterator[tuple[str, Tensor]]:
    """Merged task vectors, with one tensor of each member in memory at a time.

    Args:
        members: each gives the fp32 task vector of a name; oldest first.
        names: the tensors, in the order wanted.
        weights: one a member.
        config: the method and its settings.
        seed: of random masks, whose streams are derived from (seed, name, member).
        statistics: filled on the way.

    Raises:
        MergeError: see `check_merge`, or a value that is not finite.
    """
    check_merge(members, weights, config)
    method: Method = load(MERGE_METHODS[config.method].merge)
    for name in names:
        taus = [member[name] for member in members]
        for i, tau in enumerate(taus, 1):
            if not bool(torch.isfinite(tau).all()):
                raise MergeError(f"'{name}' of checkpoint {i} holds values that are not finite.")
        merged = method(taus, weights, config, partial(torch_generator, "merge", seed, name))
        if statistics is not None:
            statistics.add(taus, merged)
        yield name, merged


def check_merge(members: Sequence[Mapping[str, Tensor]], weights: Sequence[float], config: MergeConfig) -> None:
    """Look at a merge before anything is computed.

    Raises:
        MergeError: weights do not fit, or members move different tensors.
    """
    if len(weights) != len(members) or not members:
        raise MergeError(
            f"{len(members)} checkpoints and {len(weights)} weights do not fit: give one weight a checkpoint."
        )
    if not all(isfinite(w) for w in weights) or (config.normalize and sum(weights) == 0):
        raise MergeError(f"weights {list(weights)} cannot be used: they must be finite and must not sum to 0.")
    for i, member in enumerate(members[1:], 2):
        odd = sorted(members[0].keys() ^ member.keys())
        if odd:
            where = 1 if odd[0] in members[0] else i
            raise MergeError(
                f"these checkpoints do not belong together: of checkpoints 1 and {i}, only {where} moves '{odd[0]}'."
            )


def require_no_episodes(method: str) -> None:
    """Raise MergeError for a method that chooses its members by episodes: that takes a run."""
    found = MERGE_METHODS.get(method)
    if found is not None and found.select:
        others = ", ".join(name for name, other in MERGE_METHODS.items() if not other.select)
        raise MergeError(f"{method} chooses members by episodes and works within a run: choose one of {others}.")


def teacher_tensors(
    start: Mapping[str, Tensor],
    members: Sequence[Mapping[str, Tensor]],
    weights: Sequence[float],
    config: MergeConfig,
    *,
    seed: int = 0,
    last: Mapping[str, Tensor] | None = None,
    statistics: MergeStatistics | None = None,
) -> Iterator[tuple[str, Tensor]]:
    """theta_init + lam * tau_merged, in the start's order and number types; arithmetic in fp32.

    Tensors that no member moves, and integer or boolean ones, are the start's own.

    Args:
        start: theta_init.
        members: task vectors, oldest first (`dense_deltas`, `lora_deltas`).
        weights: one a member.
        config: the method and its settings.
        seed: of random masks.
        last: the last teacher, which `statistics` compare with; the start before the first merge.
        statistics: filled on the way.

    Raises:
        MergeError: see `merge_deltas`; raised when the first tensor is asked for.
    """
    check_merge(members, weights, config)
    moved = [name for name in start if name in members[0]]
    taus = merge_deltas(members, moved, weights, config, seed=seed, statistics=statistics)
    for name, own in start.items():
        if name in members[0]:
            _, tau = next(taus)
            teacher = (own.float() + config.lam * tau).to(own.dtype)
            if not bool(torch.isfinite(teacher).all()):
                raise MergeError(f"'{name}' of the teacher leaves the range of {own.dtype}: lower merge.lam.")
        else:
            teacher = own.clone()
        if statistics is not None and own.is_floating_point():
            statistics.add_teacher(teacher, own if last is None else last[name], own)
        yield name, teacher


def merge_state_dicts(
    base: Mapping[str, Tensor],
    members: Sequence[Mapping[str, Tensor]],
    weights: Sequence[float],
    method: str = "ties",
    density: float = 0.8,
    normalize: bool = True,
    lam: float = 1.0,
    *,
    seed: int = 0,
) -> dict[str, Tensor]:
    """theta_merged = theta_init + lam * tau_merged, in memory; arithmetic in fp32, the base's number types kept.

    Raises:
        ConfigError: an unknown method or a setting out of range.
        MergeError: checkpoints that do not belong together, or values that are not finite.
    """
    require_no_episodes(method)
    config = MergeConfig(method=method, density=density, normalize=normalize, lam=lam)
    deltas = [dense_deltas(base, member) for member in members]
    return dict(teacher_tensors(base, deltas, weights, config, seed=seed))
