"""Imitation of corrected thoughts (GTR, PAPER.md 1.3): who corrects is a `Corrector`.

A corrector looks at the agent's valid answers. Where it judges the thought right there is no lesson; where it writes a
better one, that thought with the agent's own action after it, masked, is a lesson for the DAgger buffer.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from gtr_core.agent.policy import Policy
from gtr_core.agent.spans import thought_tokens
from gtr_core.envs.text import TextEnv
from gtr_core.rollout.types import Lesson, Rollout


@dataclass(frozen=True)
class Corrections:
    """What a corrector found; turns that are nowhere in it were given up, `skipped` of them."""

    fields: dict[int, Mapping[str, object]]  # by turn: right thought fields in place of the agent's
    right: int  # thoughts that need no lesson
    skipped: int
    figures: dict[str, float] = field(default_factory=dict)  # of its own: requests, tokens, money


class Corrector(Protocol):
    """Judges thoughts and writes better ones."""

    def __call__(self, rollout: Rollout, states: Iterable[tuple[int, TextEnv]]) -> Corrections:
        """Judge the turns of `states`, each with its environment as it stood then: look at one before the next."""
        ...


def corrected_guidance(
    policy: Policy, rollout: Rollout, states: Iterable[tuple[int, TextEnv]], corrector: Corrector
) -> tuple[list[Lesson], dict[str, float]]:
    """One lesson for each of the agent's valid turns whose thought was wrong and could be corrected.

    A correction that the agent could not say within its token limit would teach it to be cut off: it is skipped and
    counted.

    Args:
        policy: the agent; its tokenizer and its limit are what is needed of it.
        rollout: the agent's turns.
        states: of `gtr_core.rollout.collect.replay`.
        corrector: who judges.
    """
    valid = rollout.valid_T_E.flatten().tolist()
    keys: dict[int, tuple[str, ...]] = {}

    def asked() -> Iterable[tuple[int, TextEnv]]:
        for n, env in states:
            if valid[n]:
                keys[n] = env.keys
                yield n, env

    found = corrector(rollout, asked())
    lessons = [_lesson(policy, rollout, n, found.fields[n], keys[n]) for n in sorted(found.fields)]
    fitting = [s for s in lessons if len(s.answer) <= policy.sampling.max_new_tokens]
    metrics = {
        "guidance/lessons": float(len(fitting)),
        "guidance/judged_right": float(found.right),
        "guidance/skipped_invalid_agent": float(rollout.size - len(keys)),
        "guidance/skipped_uncorrected": float(found.skipped),
        "guidance/skipped_too_long": float(len(lessons) - len(fitting)),
    }
    return fitting, metrics | found.figures


def _lesson(policy: Policy, rollout: Rollout, n: int, fields: Mapping[str, object], keys: Sequence[str]) -> Lesson:
    """The corrected thought in the environment's order of keys, then the agent's own action tokens."""
    thought = json.dumps({key: fields[key] for key in keys[:-1]}, ensure_ascii=False)[:-1] + ", "
    whole = policy.encode_answer(thought + rollout.texts_N[n][rollout.action_start_N[n] :])
    taught = whole[: thought_tokens(whole, policy.decode, len(thought))]
    return Lesson(
        rollout.image(n), rollout.prompts_N[n], taught + rollout.answers_N[n][rollout.thought_N[n] :], len(taught)
    )
