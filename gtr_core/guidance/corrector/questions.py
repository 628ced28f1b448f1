"""What a corrector is asked of one turn, and how its answer is read (PAPER.md 4)."""

import base64
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from gtr_core.guidance.corrector.chat import Malformed


@dataclass(frozen=True)
class Checks:
    """What is to be checked in one environment's answers, one reply field `answer1`, `answer2`, ... each."""

    asks: tuple[str, ...]
    extra: Mapping[str, str] | None = None  # further reply fields and what belongs in them
    solver: bool = False  # whether the solver is offered as a tool


READ_AND_ACT = Checks(
    (
        "Does the agent read every number and card in the picture rightly?",
        "Does its reasoning lead to the best action in this state, and is that the action it names?",
    )
)
CHECKS = {
    "gtr/NumberLine-v0": READ_AND_ACT,
    "gtr/Blackjack-v0": READ_AND_ACT,
    "gtr/EZPoints-v0": Checks(
        (
            "Which numbers do the two cards count, and does the agent say the same?",
            "Is the formula that the agent plans worth the target, with each number used once?",
            "Does the plan begin with the current formula, and is the agent's action its next piece?",
        )
    ),
    "gtr/Points24-v0": Checks(
        (
            "Which ranks do the cards in the picture have?",
            "Are the numbers that the agent gives those of the cards?",
            "Is the formula that the agent plans worth the target, with each number used once?",
            "Does the plan begin with the current formula, and is the agent's action its next piece?",
        ),
        extra={
            "possible_solution": "whether a formula that begins with the current one can still make the target, YES or "
            "NO",
            "target_formula": "such a formula, or an empty text",
        },
        solver=True,
    ),
    "gtr/ALFWorld-v0": Checks(
        (
            "Which objects that matter does the agent see or hold, and does it say so rightly?",
            "What is the next step towards the task, and does the agent aim at it?",
            "Is there an admissible action that takes this step, and is it the agent's?",
        )
    ),
}
ANY = Checks(
    (
        "Is what the agent says of the picture and of the state right?",
        "Does its reasoning lead to a good action in this state, and is that the action it names?",
    )
)


@dataclass(frozen=True)
class Verdict:
    """A corrector's judgement; `fields` is the better thought, None where the agent's was right."""

    fields: Mapping[str, object] | None


def messages(image: np.ndarray, prompt: str, answer: str, keys: Sequence[str], checks: Checks) -> list[dict[str, Any]]:
    """The conversation's opening: the agent's picture, its prompt, its answer, and what to say of it.

    Args:
        image: (H, W, 3) uint8, sent as a PNG data URI.
        prompt: the game's full prompt in this state.
        answer: the agent's text.
        keys: of a valid answer; all but the last, the action, are thought.
        checks: the environment's.
    """
    thought = ", ".join(f'"{key}"' for key in keys[:-1])
    fields = {f"answer{i}": ask for i, ask in enumerate(checks.asks, 1)} | dict(checks.extra or {})
    task = (
        "An agent plays a game by its picture. It was given the prompt below with the picture above, and answered.\n\n"
        f"PROMPT\n{prompt}\n\nANSWER\n{answer}\n\n"
        "Judge the reasoning, everything before the action. Reply with one JSON object with these fields, in this "
        "order:\n"
        + "".join(f'"{name}": {ask}\n' for name, ask in fields.items())
        + '"evaluation": "YES" if all of the reasoning is right, otherwise "NO"\n'
        f'"correction": for "NO" an object with the fields {thought} as the agent should have written them, in the '
        'form that the prompt asks for; for "YES" an empty object'
    )
    picture = {"type": "image_url", "image_url": {"url": _data_uri(image)}}
    return [
        {"role": "system", "content": "You check the reasoning of a game-playing agent, exactly and briefly."},
        {"role": "user", "content": [picture, {"type": "text", "text": task}]},
    ]


def read_verdict(content: object, keys: Sequence[str]) -> Verdict:
    """The judgement in a reply's text.

    Raises:
        Malformed: no JSON object, no YES or NO, or a correction without all thought fields.
    """
    text = content if isinstance(content, str) else ""
    try:
        value = json.loads(text[text.find("{") : text.rfind("}") + 1])  # a fence around it does no harm
    except (ValueError, RecursionError) as error:
        raise Malformed("the reply's text is no JSON object") from error
    said = str(value.get("evaluation", "")).strip().upper()
    if said == "YES":
        return Verdict(None)
    if said != "NO":
        raise Malformed("the reply's evaluation is neither YES nor NO")
    correction = value.get("correction")
    missing = [k for k in keys[:-1] if not isinstance(correction, dict) or k not in correction]
    if missing:
        raise Malformed(f"the reply's correction has no '{missing[0]}'")
    return Verdict({key: correction[key] for key in keys[:-1]})


def _data_uri(image: np.ndarray) -> str:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
