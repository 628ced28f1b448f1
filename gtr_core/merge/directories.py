"""Merging checkpoints on disk: the streamed form of `merge_state_dicts`, with the same bytes for its result."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import Tensor

from gtr_core.config import MergeConfig
from gtr_core.deltas.errors import MergeError
from gtr_core.deltas.read import read_deltas
from gtr_core.deltas.task_vectors import dense_deltas
from gtr_core.deltas.tensor_files import INDEX, Shards, write_index, write_shard
from gtr_core.merge.combine import check_merge, require_no_episodes, teacher_tensors
from gtr_core.merge.statistics import MergeStatistics
from gtr_core.util.files import publish


def merge_directories(
    start: Path,
    members: Sequence[Path],
    out: Path,
    weights: Sequence[float],
    config: MergeConfig,
    *,
    seed: int = 0,
    last: Path | None = None,
) -> MergeStatistics:
    """Merge checkpoint directories into a new one, with one tensor of each member in memory at a time.

    `out` is there when it is whole, and not before. It has weights in files of the start's names, an index where there
    are several, and the start's other files (configuration, tokenizer), so that whatever loads the start loads it.

    Args:
        start: theta_init, safetensors files.
        members: full weights or LoRA adapters, oldest first.
        out: a directory that is not there yet.
        weights: one a member.
        config: the method and its settings.
        seed: of random masks.
        last: the last teacher, for the statistics.

    Raises:
        MergeError: `out` exists, or the checkpoints do not belong together; nothing is written then.
        DiskFull: there was no room.
    """
    require_no_episodes(config.method)
    if out.exists():
        raise MergeError(f"{out} exists already: name a directory that does not.")
    base = Shards(start)
    deltas = [read_deltas(member, base) for member in members]
    previous = None if last is None else Shards(last)
    if previous is not None:
        dense_deltas(base, previous)  # refuses a teacher of another start
    check_merge(deltas, weights, config)
    statistics = MergeStatistics()
    with publish(out) as directory:
        for file, names in base.files.items():
            like = {name: base[name] for name in _aligned(names, base)}  # views of the file, nothing is read yet
            tensors = teacher_tensors(like, deltas, weights, config, seed=seed, last=previous, statistics=statistics)
            write_shard(directory / file, like, tensors)
        if len(base.files) > 1:
            write_index(directory, base.files)
        for other in start.iterdir():
            if other.is_file() and other.suffix != ".safetensors" and other.name != INDEX:
                shutil.copyfile(other, directory / other.name)
    return statistics


def _aligned(names: Sequence[str], tensors: Mapping[str, Tensor]) -> list[str]:
    """Widest numbers first, so that each number in a file lies at a multiple of its size."""
    return sorted(names, key=lambda name: (-tensors[name].element_size(), name))
