"""The task vectors of a checkpoint directory, whatever form its weights have."""

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from gtr_core.deltas.errors import MergeError
from gtr_core.deltas.lora import lora_deltas
from gtr_core.deltas.task_vectors import Deltas, dense_deltas, stored_deltas
from gtr_core.deltas.tensor_files import Shards
from gtr_core.util.files import read_json

ADAPTER_CONFIG = "adapter_config.json"
DELTA = "delta.safetensors"  # a teacher's task vectors


def read_deltas(directory: Path, start: Mapping[str, Tensor]) -> Deltas:
    """The task vectors of a checkpoint directory, read one tensor at a time.

    It holds full weights, a LoRA adapter, or task vectors as they are.

    Raises:
        MergeError: it holds no weights, or such that do not fit the start.
    """
    weights = Shards(directory)
    try:
        if (directory / ADAPTER_CONFIG).is_file():
            return lora_deltas(weights, read_json(directory / ADAPTER_CONFIG), start)
        return stored_deltas(start, weights) if (directory / DELTA).is_file() else dense_deltas(start, weights)
    except MergeError as error:
        raise MergeError(f"{directory}: {error}") from error
