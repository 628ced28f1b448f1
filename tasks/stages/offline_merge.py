"""Stage `offline_merge`: checkpoints of any runs from one start, merged without training."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from gtr_core.agent.checkpoint import ADAPTER_CONFIG, CARD, Card, read_card, save_teacher
from gtr_core.agent.loading import base_tensors
from gtr_core.agent.policy import Policy
from gtr_core.config import MergeConfig
from gtr_core.config.loading import to_dict
from gtr_core.merge import MergeStatistics, full_buffer_weights, merge_directories, read_deltas, teacher_tensors
from gtr_core.util.errors import UserError
from gtr_core.util.files import sha256_file
from tasks.store.fingerprint import code_files, code_version
from tasks.store.record import StageRecord
from tasks.store.stage import run_stage
from tasks.store.store import StageStore


def offline_merge(
    store: StageStore, start: Policy, members: Sequence[Path], config: MergeConfig, seed: int
) -> StageRecord:
    """The merge of checkpoint directories, oldest first, relative to the start they share.

    Args:
        store: where stages live.
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

    def compute(directory: Path) -> dict[str, float]:
        base = base_tensors(start)
        deltas = [read_deltas(member, base) for member in members]
        statistics = MergeStatistics()
        weights = full_buffer_weights(config, len(members))
        merged = teacher_tensors(base, deltas, weights, config, seed=seed, statistics=statistics)
        save_teacher(merged, base, replace(newest, role="teacher"), config, directory / "teacher")
        return statistics.result()

    return _stage(store, newest.base, members, config, seed, compute)


def offline_merge_of_directories(
    store: StageStore, start: Path, members: Sequence[Path], config: MergeConfig, seed: int
) -> StageRecord:
    """The merge of plain model directories (safetensors as transformers writes them), or of peft adapters to `start`.

    Raises:
        MergeError: a directory without weights, or one that does not belong to the start; names the first difference.
    """

    def compute(directory: Path) -> dict[str, float]:
        weights = full_buffer_weights(config, len(members))
        return merge_directories(start, members, directory / "teacher", weights, config, seed=seed).result()

    return _stage(store, _digest(start), members, config, seed, compute)


def _stage(
    store: StageStore,
    base: object,
    members: Sequence[Path],
    config: MergeConfig,
    seed: int,
    compute: Callable[[Path], dict[str, float]],
) -> StageRecord:
    return run_stage(
        store,
        stage="offline_merge",
        iteration=None,
        inputs={},
        config={
            "base": base,
            "members": [_digest(member) for member in members],
            "merge": {k: v for k, v in to_dict(config).items() if k not in ("interval", "mode")},
        },
        code=code_version(__name__),
        sources=code_files(__name__),
        seed=seed,
        compute=compute,
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
