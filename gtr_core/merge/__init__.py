"""Merging checkpoints into a teacher: one method a file, all of them named in `gtr_core.config.choices`.

method.py      what a method is                   combine.py      from task vectors to the teacher
weights.py     how much a checkpoint counts       statistics.py   what a merge did
directories.py merging on disk

Task vectors themselves are read and written in `gtr_core.deltas`.
"""

from gtr_core.deltas.errors import MergeError
from gtr_core.deltas.lora import lora_deltas
from gtr_core.deltas.low_rank import LowRank, low_rank, to_adapter
from gtr_core.deltas.read import DELTA, read_deltas
from gtr_core.deltas.task_vectors import Deltas, Moved, dense_deltas
from gtr_core.deltas.tensor_files import Shards
from gtr_core.merge.combine import merge_deltas, merge_state_dicts, teacher_tensors
from gtr_core.merge.directories import merge_directories
from gtr_core.merge.greedy_soup import greedy_soup
from gtr_core.merge.method import Draw, Method
from gtr_core.merge.statistics import MergeStatistics
from gtr_core.merge.weights import ema, full_buffer_weights, incremental_weights, sma

__all__ = [
    "DELTA",
    "Deltas",
    "Draw",
    "LowRank",
    "MergeError",
    "MergeStatistics",
    "Method",
    "Moved",
    "Shards",
    "dense_deltas",
    "ema",
    "full_buffer_weights",
    "greedy_soup",
    "incremental_weights",
    "lora_deltas",
    "low_rank",
    "merge_deltas",
    "merge_directories",
    "merge_state_dicts",
    "read_deltas",
    "sma",
    "teacher_tensors",
    "to_adapter",
]
