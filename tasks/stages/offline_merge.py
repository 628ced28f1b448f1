"""Stage `offline_merge`: checkpoints of any runs from one start, merged without training."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from gtr_core.agent.checkpoint import ADAPTER_CONFIG, CARD, Card, read_card, save_teacher
from gtr_core.agent.loading import base_tensors
from gtr_core.agent.policy import Policy
from gtr_core.config import MergeConfig
from gtr_core.config.loading import to_dict
from gtr_core.deltas.read import read_deltas
from gtr_core.merge.combine import teacher_tensors
from gtr_core.merge.directories import merge_directories
from gtr_core.merge.statistics import MergeStatistics
from gtr_core.merge.weights import full_buffer_weights
from gtr_core.util.errors import UserError
from gtr_core.util.files import sha256_file
from tasks.store.results import MergedOffline
from tasks.store.stage import Stage


def offline_merge(start: Policy, members: Sequence[Path], config: MergeConfig, seed: int) -> Stage[MergedOffline]:
    """The merge of checkpoint directories, oldest first, relative to the start they share.

    Args:
        start: the start's policy, as it was loaded.
        members: directories of agents or teachers.
        config: the method and its settings; one weight a member.
        seed: of random masks.

    Raises:
        UserError: members of different starts, or such that do not fit; names the first difference.
    """
    cards = [read_card(member) for member in members]
    _same_start(members, cards)
    newest = max(cards, key=lambda card: card.iteration)
    return _stage(partial(_merge, start, newest, members, config, seed), newest.base, members, config, seed)


def offline_merge_of_directories(
    start: Path, members: Sequence[Path], config: MergeConfig, seed: int
) -> Stage[MergedOffline]:
    """The merge of plain model directories (safetensors as transformers writes them), or of peft adapters to `start`.

    Computing it raises MergeError for a directory without weights, or one that does not belong to the start; it names
    the first difference.
    """
    return _stage(partial(_merge_directories, start, members, config, seed), _digest(start), members, config, seed)


def _merge(
    start: Policy, newest: Card, members: Sequence[Path], config: MergeConfig, seed: int, directory: Path
) -> dict[str, float]:
    base = base_tensors(start)
    deltas = [read_deltas(member, base) for member in members]
    statistics = MergeStatistics()
    weights = full_buffer_weights(config, len(members))
    merged = teacher_tensors(base, deltas, weights, config, seed=seed, statistics=statistics)
    save_teacher(merged, base, replace(newest, role="teacher"), config, directory / "teacher")
    return statistics.result()


def _merge_directories(
    start: Path, members: Sequence[Path], config: MergeConfig, seed: int, directory: Path
) -> dict[str, float]:
    weights = full_buffer_weights(config, len(members))
    return merge_directories(start, members, directory / "teacher", weights, config, seed=seed).result()


def _stage(
    compute: Callable[..., dict[str, float]], base: object, members: Sequence[Path], config: MergeConfig, seed: int
) -> Stage[MergedOffline]:
    return Stage(
        MergedOffline,
        compute=compute,
        inputs={},
        config={
            "base": base,
            "members": [_digest(member) for member in members],
            "merge": {k: v for k, v in to_dict(config).items() if k not in ("interval", "mode")},
        },
        seed=seed,
        implementations=(config.chosen.merge,),
    )


def _same_start(members: Sequence[Path], cards: Sequence[Card]) -> None:
    for member, card in zip(members, cards, strict=True):
        if card.base != cards[0].base:
            raise UserError(
                f"{member} and {members[0]} come of different starts ({card.base[:12]} and {cards[0].base[:12]}): "
                "only checkpoints of one warm start can be merged."
            )


def _digest(member: Path) -> dict[str, str]:
    """The contents of a checkpoint's directory: where it lies plays no part."""
    names = (CARD, ADAPTER_CONFIG)
    return {p.name: sha256_file(p) for p in sorted(member.iterdir()) if p.suffix == ".safetensors" or p.name in names}
