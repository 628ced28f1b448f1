"""What a rollout leaves behind: every turn with its prompt, picture, token ids and numbers, on disk and in memory.

One environment step is one independent sample (PAPER.md 1.1). Prompts and pictures are stored, so that PPO re-evaluates
exactly what was sampled (PAPER.md 6.1.10).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from gtr_core.rollout.fields import FIELDS, Kind
from gtr_core.rollout.images import PictureBook, pack, unpack


@dataclass(frozen=True)
class Rollout:
    """T turns of E environments side by side; turn t of environment e is sample t * E + e of N = T * E.

    How each field is collected, stored and joined is said in `gtr_core.rollout.fields`.
    """

    pictures: list[np.ndarray]  # distinct ones
    picture_N: list[int]  # index into `pictures`
    prompts_N: list[str]
    texts_N: list[str]  # the answers as text
    action_start_N: list[int]  # character at which the action part begins
    answers_N: list[list[int]]  # the sampled tokens, end token included
    thought_N: list[int]  # leading tokens that are thought; the rest is action
    logp_N: list[list[float]]  # log-prob a token under the policy that sampled it
    verdicts_N: list[dict[str, bool]]  # the oracle's judgement of each thought field
    value_T_E: Tensor  # critic's value of the state before the turn, scaled rewards
    reward_T_E: Tensor  # environment's reward
    done_T_E: Tensor  # bool: the episode ended with this turn
    valid_T_E: Tensor  # bool: the answer was one JSON object with all keys
    legal_T_E: Tensor  # bool: an action could be read
    last_value_E: Tensor  # value of the state after the last turn
    hidden_N_D: Tensor  # what the critic valued: the hidden state of the last prompt token, fp32
    episodes: list[dict[str, float]]  # finished ones: return, won, turns
    faults: Mapping[str, int] = dataclass_field(default_factory=dict)  # worker processes restarted, episodes dropped

    @property
    def size(self) -> int:
        """Number of turns N."""
        return len(self.answers_N)

    def save(self, directory: Path) -> None:
        """Write `turns.safetensors`, `turns.jsonl` and `episodes.json`."""
        tensors = {"length_N": torch.tensor([len(answer) for answer in self.answers_N]), **pack(self.pictures)}
        columns: dict[str, list[Any]] = {}  # of `turns.jsonl`
        for field in FIELDS:
            values = getattr(self, field.name)
            match field.kind:
                case Kind.JSON:
                    columns[field.stored] = values
                case Kind.TOKENS:
                    tensors[field.stored] = torch.tensor([x for row in values for x in row], dtype=field.dtype)
                case Kind.NUMBER | Kind.IMAGE:
                    tensors[field.stored] = torch.tensor(values, dtype=field.dtype)
                case Kind.GRID | Kind.ENVIRONMENT | Kind.VECTOR:
                    tensors[field.stored] = values.contiguous()
        save_file(tensors, directory / "turns.safetensors")
        with (directory / "turns.jsonl").open("w") as file:
            for turn in zip(*columns.values(), strict=True):
                file.write(json.dumps(dict(zip(columns, turn, strict=True))) + "\n")
        (directory / "episodes.json").write_text(json.dumps({"episodes": self.episodes, "faults": dict(self.faults)}))

    @classmethod
    def load(cls, directory: Path) -> "Rollout":
        """The rollout that `save` wrote."""
        tensors = load_file(directory / "turns.safetensors")
        lengths = tensors["length_N"].tolist()
        rows = [json.loads(line) for line in (directory / "turns.jsonl").read_text().splitlines()]
        ends = json.loads((directory / "episodes.json").read_text())
        values: dict[str, Any] = {}
        for field in FIELDS:
            match field.kind:
                case Kind.JSON:
                    values[field.name] = [row[field.stored] for row in rows]
                case Kind.TOKENS:
                    values[field.name] = [t.tolist() for t in tensors[field.stored].split(lengths)]
                case Kind.NUMBER | Kind.IMAGE:
                    values[field.name] = tensors[field.stored].tolist()
                case Kind.GRID | Kind.ENVIRONMENT | Kind.VECTOR:
                    values[field.name] = tensors[field.stored]
        return cls(pictures=unpack(tensors), episodes=ends["episodes"], faults=ends["faults"], **values)

    @property
    def thought_texts_N(self) -> list[str]:  # noqa: N802 - N turns
        """The thought part of each answer."""
        return [t[:start] for t, start in zip(self.texts_N, self.action_start_N, strict=True)]

    def image(self, n: int) -> np.ndarray:
        """The picture of turn n."""
        return self.pictures[self.picture_N[n]]


@dataclass(frozen=True)
class SFTExample:
    """One supervised sample: a picture, a prompt and the answer to learn.

    With `thought` set, only that many leading tokens are learned: an agent's own action after a teacher's thought.
    """

    image: np.ndarray
    prompt: str
    answer: list[int]
    thought: int | None = None


def save_examples(examples: list[SFTExample], directory: Path) -> None:
    """Write examples as `lessons.safetensors` and `lessons.jsonl`."""
    book = PictureBook()
    rows = [
        {"prompt": s.prompt, "answer": s.answer, "thought": s.thought, "picture": book.add(s.image)} for s in examples
    ]
    save_file(pack(book.pictures), directory / "lessons.safetensors")
    (directory / "lessons.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def load_examples(directory: Path) -> list[SFTExample]:
    """The examples that `save_examples` wrote."""
    pictures = unpack(load_file(directory / "lessons.safetensors"))
    rows = [json.loads(line) for line in (directory / "lessons.jsonl").read_text().splitlines()]
    return [SFTExample(pictures[r["picture"]], r["prompt"], r["answer"], r["thought"]) for r in rows]
