"""Imitation of the teacher's thoughts (PAPER.md 1.3 and 1.5).

For the agent's own state the teacher writes an answer; its thought is kept, its action is replaced by the agent's, and
the loss covers the thought alone, so that the teacher says how to think and never what to do. SFTExamples join a DAgger
buffer that grows through the run and is sampled uniformly.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
from torch import Tensor

from gtr_core.agent.policy import Policy
from gtr_core.agent.token_spans import thought_tokens
from gtr_core.config import Experiment, SamplingConfig, SFTConfig
from gtr_core.envs import make
from gtr_core.envs.parser import parse
from gtr_core.envs.registry import implementations_of
from gtr_core.guidance.base import Case
from gtr_core.guidance.sft_examples import SFTExamples
from gtr_core.rollout.types import Rollout, SFTExample, save_examples
from gtr_core.seeding.streams import generator

ActionStart = Callable[[str], int | None]  # character where a valid answer's action begins; None for an invalid one


class SFTGuidance(SFTExamples):
    """The merged teacher's own thoughts as examples."""

    merged_teacher: ClassVar[bool] = True

    def __init__(self, experiment: Experiment) -> None:
        super().__init__(experiment)
        asked = {k: v for k, v in self.used.items() if k not in ("weight", "window", "capacity")}
        self.asked = asked | {"batch_size": experiment.rollout.batch_size}
        env = experiment.env  # whose keys an answer must have
        self.implementations = implementations_of(env.id, **dict(env.kwargs))

    def compute(self, case: Case, directory: Path) -> dict[str, float]:
        """Write an example for each turn that the teacher could answer."""
        experiment = self.experiment
        keys = make(experiment.env.id, **dict(experiment.env.kwargs)).keys

        def action_start(text: str) -> int | None:
            parsed = parse(text, keys, ())
            return parsed.action_start if parsed.valid else None

        stream = ("lessons", experiment.seed, case.iteration)
        examples, metrics = teach(
            case.start(), case.teacher(), case.rollout, action_start, self.sft, experiment.rollout.batch_size, stream
        )
        save_examples(examples, directory)
        return metrics


def teach(
    policy: Policy,
    teacher: Mapping[str, Tensor],
    rollout: Rollout,
    action_start: ActionStart,
    config: SFTConfig,
    batch_size: int,
    stream: tuple[str | int, ...],
) -> tuple[list[SFTExample], dict[str, float]]:
    """One example for each of the agent's valid turns for which the teacher writes a valid answer.

    A teacher's invalid answer is asked again, hotter each time, up to `config.tries`; then the turn is skipped and
    counted (invariants 30, 31).

    Args:
        policy: the agent; the teacher's weights are swapped in while it writes.
        teacher: dense weights.
        rollout: the agent's turns.
        action_start: the environment's parser.
        config: tries and temperatures.
        batch_size: answers generated at once.
        stream: names the random numbers; one stream a turn and try, so that batching changes nothing.
    """
    open_turns = [n for n, valid in enumerate(rollout.valid_T_E.flatten().tolist()) if valid]
    asked = len(open_turns)
    taught: dict[int, list[int]] = {}
    tokens = 0
    with policy.swapped(teacher):
        for attempt in range(config.tries):
            heat = min(config.temperature * config.heat**attempt, max(config.max_temperature, config.temperature))
            sampling: SamplingConfig = replace(policy.sampling, temperature=heat)
            failed = []
            for start in range(0, len(open_turns), batch_size):
                chunk = open_turns[start : start + batch_size]
                answers = _generate(policy, rollout, chunk, sampling, (*stream, attempt))
                tokens += sum(map(len, answers))
                for n, answer in zip(chunk, answers, strict=True):
                    begin = action_start(policy.decode(answer))
                    if begin is None:
                        failed.append(n)
                    else:
                        taught[n] = answer[: thought_tokens(answer, policy.decode, begin)]
            open_turns = failed
    examples = [
        SFTExample(
            rollout.image(n), rollout.prompts_N[n], thought + rollout.answers_N[n][rollout.thought_N[n] :], len(thought)
        )
        for n, thought in sorted(taught.items())
    ]
    metrics = {
        "guidance/lessons": float(len(examples)),
        "guidance/skipped_invalid_agent": float(rollout.size - asked),
        "guidance/skipped_invalid_teacher": float(len(open_turns)),
        "guidance/tokens_generated": float(tokens),
    }
    return examples, metrics


def _generate(
    policy: Policy, rollout: Rollout, chunk: list[int], sampling: SamplingConfig, stream: tuple[str | int, ...]
) -> list[list[int]]:
    prompts = [policy.encode(rollout.image(n), rollout.prompts_N[n]) for n in chunk]
    uniforms = np.stack([generator(*stream, n).random(sampling.max_new_tokens) for n in chunk])
    return policy.generate(prompts, uniforms, sampling)
