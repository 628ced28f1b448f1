"""The fields of a rollout that hold a value for every turn or environment, in one table.

Collecting (`collect.py`), saving and loading (`types.py`) and joining shards (`shards.py`) go by this table. A new
field of `Rollout` needs a line here, and a value for every turn in `collect.py`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

import torch


class Kind(Enum):
    """What form a field has in memory. N = T * E turns: turn t of environment e is entry t * E + e."""

    JSON = "a list of N values that JSON can hold, stored a line a turn in `turns.jsonl`"
    TOKENS = "a list of N lists with a number for each token of the turn's answer, stored end to end as one tensor"
    NUMBER = "a list of N numbers, stored as one tensor"
    IMAGE = "a list of N indices into the rollout's distinct pictures, stored as one tensor"
    GRID = "a tensor (T, E)"
    ENVIRONMENT = "a tensor (E,)"
    VECTOR = "a tensor (N, D)"


@dataclass(frozen=True)
class Field:
    """One field of `Rollout`."""

    name: str
    kind: Kind
    stored: str  # its key in a line of `turns.jsonl`, or its tensor's name in `turns.safetensors`
    dtype: torch.dtype | None = None  # of its tensor, in memory or on disk


FIELDS = (
    Field("prompts_N", Kind.JSON, "prompt"),
    Field("texts_N", Kind.JSON, "text"),
    Field("action_start_N", Kind.JSON, "action_start"),
    Field("verdicts_N", Kind.JSON, "thought"),
    Field("answers_N", Kind.TOKENS, "tokens", torch.int64),
    Field("logp_N", Kind.TOKENS, "logp", torch.float32),
    Field("thought_N", Kind.NUMBER, "thought_N", torch.int64),
    Field("picture_N", Kind.IMAGE, "picture_N", torch.int64),
    Field("value_T_E", Kind.GRID, "value_T_E", torch.float32),
    Field("reward_T_E", Kind.GRID, "reward_T_E", torch.float32),
    Field("done_T_E", Kind.GRID, "done_T_E", torch.bool),
    Field("valid_T_E", Kind.GRID, "valid_T_E", torch.bool),
    Field("legal_T_E", Kind.GRID, "legal_T_E", torch.bool),
    Field("last_value_E", Kind.ENVIRONMENT, "last_value_E", torch.float32),
    Field("hidden_N_D", Kind.VECTOR, "hidden_N_D", torch.float32),
)


def from_columns(columns: Mapping[str, Sequence[Any]], envs: int) -> dict[str, Any]:
    """Every field in the form of its kind, from `columns`: its values in order, under its name.

    Args:
        columns: N values of each field, in the order of the turns; of an ENVIRONMENT field E values.
        envs: the number E of environments.
    """
    fields: dict[str, Any] = {}
    for field in FIELDS:
        values = columns[field.name]
        match field.kind:
            case Kind.GRID:
                fields[field.name] = torch.tensor(values, dtype=field.dtype).view(-1, envs)
            case Kind.ENVIRONMENT:
                fields[field.name] = torch.tensor(values, dtype=field.dtype)
            case Kind.VECTOR:
                fields[field.name] = torch.stack(list(values)).to(field.dtype)
            case Kind.JSON | Kind.TOKENS | Kind.NUMBER | Kind.IMAGE:
                fields[field.name] = list(values)
    return fields
