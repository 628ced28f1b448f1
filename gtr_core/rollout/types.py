"""What a rollout leaves behind: every turn with its prompt, picture, token ids and numbers, on disk and in memory.

One environment step is one independent sample (PAPER.md 1.1). Prompts and pictures are stored, so that PPO re-evaluates
exactly what was sampled (PAPER.md 6.1.10).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from gtr_core.rollout.images import PictureBook, pack, unpack


@dataclass(frozen=True)
class Rollout:
    """T turns of E environments side by side; turn t of environment e is sample t * E + e of N = T * E."""

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
    faults: Mapping[str, int] = field(default_factory=dict)  # worker processes restarted, episodes dropped

    @property
    def size(self) -> int:
        """Number of turns N."""
        return len(self.answers_N)

    def save(self, directory: Path) -> None:
        """Write `turns.safetensors` and `turns.jsonl`."""
        flat = [t for answer in self.answers_N for t in answer]
        tensors = {
            "tokens": torch.tensor(flat, dtype=torch.int64),
            "logp": torch.tensor([x for row in self.logp_N for x in row], dtype=torch.float32),
            "length_N": torch.tensor([len(a) for a in self.answers_N]),
            "thought_N": torch.tensor(self.thought_N),
            "picture_N": torch.tensor(self.picture_N),
            **{n: getattr(self, n).contiguous() for n in _GRIDS},
            **pack(self.pictures),
        }
        save_file(tensors, directory / "turns.safetensors")
        with (directory / "turns.jsonl").open("w") as file:
            columns = (self.prompts_N, self.texts_N, self.action_start_N, self.verdicts_N)
            for prompt, text, start, verdict in zip(*columns, strict=True):
                row = {"prompt": prompt, "text": text, "action_start": start, "thought": verdict}
                file.write(json.dumps(row) + "\n")
        (directory / "episodes.json").write_text(json.dumps({"episodes": self.episodes, "faults": dict(self.faults)}))

    @classmethod
    def load(cls, directory: Path) -> "Rollout":
        """The rollout that `save` wrote."""
        tensors = load_file(directory / "turns.safetensors")
        lengths = tensors["length_N"].tolist()
        rows = [json.loads(line) for line in (directory / "turns.jsonl").read_text().splitlines()]
        ends = json.loads((directory / "episodes.json").read_text())
        return cls(
            pictures=unpack(tensors),
            picture_N=tensors["picture_N"].tolist(),
            prompts_N=[r["prompt"] for r in rows],
            texts_N=[r["text"] for r in rows],
            action_start_N=[r["action_start"] for r in rows],
            answers_N=[t.tolist() for t in tensors["tokens"].split(lengths)],
            thought_N=tensors["thought_N"].tolist(),
            logp_N=[t.tolist() for t in tensors["logp"].split(lengths)],
            verdicts_N=[r["thought"] for r in rows],
            episodes=ends["episodes"],
            faults=ends["faults"],
            **{n: tensors[n] for n in _GRIDS},
        )

    @property
    def thought_texts_N(self) -> list[str]:  # noqa: N802 - N turns
        """The thought part of each answer."""
        return [t[:start] for t, start in zip(self.texts_N, self.action_start_N, strict=True)]

    def image(self, n: int) -> np.ndarray:
        """The picture of turn n."""
        return self.pictures[self.picture_N[n]]


_GRIDS = ("value_T_E", "reward_T_E", "done_T_E", "valid_T_E", "legal_T_E", "last_value_E", "hidden_N_D")


@dataclass(frozen=True)
class Lesson:
    """One supervised sample: a picture, a prompt and the answer to learn.

    With `thought` set, only that many leading tokens are learned: an agent's own action after a teacher's thought.
    """

    image: np.ndarray
    prompt: str
    answer: list[int]
    thought: int | None = None


def save_lessons(lessons: list[Lesson], directory: Path) -> None:
    """Write lessons as `lessons.safetensors` and `lessons.jsonl`."""
    book = PictureBook()
    rows = [
        {"prompt": s.prompt, "answer": s.answer, "thought": s.thought, "picture": book.add(s.image)} for s in lessons
    ]
    save_file(pack(book.pictures), directory / "lessons.safetensors")
    (directory / "lessons.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def load_lessons(directory: Path) -> list[Lesson]:
    """The lessons that `save_lessons` wrote."""
    pictures = unpack(load_file(directory / "lessons.safetensors"))
    rows = [json.loads(line) for line in (directory / "lessons.jsonl").read_text().splitlines()]
    return [Lesson(pictures[r["picture"]], r["prompt"], r["answer"], r["thought"]) for r in rows]
