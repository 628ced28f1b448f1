"""Merging checkpoints into a teacher: one method a file, all of them in `registry.py`.

method.py      what a method is                   deltas.py       task vectors of full weights
registry.py    the methods by name                lora.py         task vectors of LoRA adapters
weights.py     how much a checkpoint counts       combine.py      from task vectors to the teacher
statistics.py  what a merge did                   shards.py       safetensors files, a tensor at a time
svd.py         a teacher as an adapter            directories.py  merging on disk
"""

from gtr_core.merge.combine import merge_deltas, merge_state_dicts, teacher_tensors
from gtr_core.merge.deltas import Deltas, Moved, dense_deltas
from gtr_core.merge.directories import DELTA, merge_directories, read_deltas
from gtr_core.merge.greedy_soup import greedy_soup
from gtr_core.merge.lora import lora_deltas
from gtr_core.merge.method import Draw, MergeError, Method
from gtr_core.merge.registry import METHODS
from gtr_core.merge.shards import Shards
from gtr_core.merge.statistics import MergeStatistics
from gtr_core.merge.svd import LowRank, low_rank, to_adapter
from gtr_core.merge.weights import ema, full_buffer_weights, incremental_weights, sma

__all__ = [
    "DELTA",
    "METHODS",
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
