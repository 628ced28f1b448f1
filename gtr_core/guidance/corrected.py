"""Imitation of corrected thoughts (GTR, PAPER.md 1.3): who corrects is a `Corrector`.

A corrector looks at the agent's valid answers. Where it judges the thought right there is no example; where it writes a
better one, that thought with the agent's own action after it, masked, is an example for the DAgger buffer.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from gtr_core.agent.policy import Policy
from gtr_core.agent.token_spans import thought_tokens
from gtr_core.config import Experiment
from gtr_core.config.choices import CORRECTORS, load
from gtr_core.config.loading import to_dict
from gtr_core.envs.practice import training_arguments
from gtr_core.envs.registry import implementations_of
from gtr_core.envs.text import TextEnv
from gtr_core.guidance.base import Case
from gtr_core.guidance.corrector.corrections import Corrector
from gtr_core.guidance.sft_examples import SFTExamples
from gtr_core.rollout.collect import replay
from gtr_core.rollout.types import Rollout, SFTExample, save_examples


class CorrectedGuidance(SFTExamples):
    """Corrected thoughts as examples; the corrector is a teacher of its own, and no merge enters."""

    def __init__(self, experiment: Experiment) -> None:
        super().__init__(experiment)
        # Who is asked and what, not how an endpoint is reached; and the environment, which is played again.
        self.asked = {k: v for k, v in to_dict(experiment.corrector).items() if k != "endpoint"}
        env = experiment.env
        kwargs = [training_arguments(env, number) for number in range(len(env.practice))]
        played = [entry for each in kwargs for entry in implementations_of(env.id, **each)]
        self.implementations = (CORRECTORS[experiment.corrector.kind], *dict.fromkeys(played))

    def check(self) -> None:
        """Whether the corrector can be made at all: an endpoint's address and its key."""
        load(CORRECTORS[self.experiment.corrector.kind])(self.experiment, Path())

    def compute(self, case: Case, directory: Path) -> dict[str, float]:
        """Write an example for each wrong thought that could be corrected."""
        experiment, stream = self.experiment, ("rollout", self.experiment.seed, case.iteration)
        corrector: Corrector = load(CORRECTORS[experiment.corrector.kind])(experiment, case.workspace)
        states = replay(case.rollout, experiment.env, stream, case.iteration)
        examples, metrics = correct(case.start(), case.rollout, states, corrector)
        save_examples(examples, directory)
        return metrics


def correct(
    policy: Policy, rollout: Rollout, states: Iterable[tuple[int, TextEnv]], corrector: Corrector
) -> tuple[list[SFTExample], dict[str, float]]:
    """One example for each of the agent's valid turns whose thought was wrong and could be corrected.

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
    examples = [_example(policy, rollout, n, found.fields[n], keys[n]) for n in sorted(found.fields)]
    fitting = [s for s in examples if len(s.answer) <= policy.sampling.max_new_tokens]
    metrics = {
        "guidance/lessons": float(len(fitting)),
        "guidance/judged_right": float(found.right),
        "guidance/skipped_invalid_agent": float(rollout.size - len(keys)),
        "guidance/skipped_uncorrected": float(found.skipped),
        "guidance/skipped_too_long": float(len(examples) - len(fitting)),
    }
    return fitting, metrics | found.figures


def _example(policy: Policy, rollout: Rollout, n: int, fields: Mapping[str, object], keys: Sequence[str]) -> SFTExample:
    """The corrected thought in the environment's order of keys, then the agent's own action tokens."""
    thought = json.dumps({key: fields[key] for key in keys[:-1]}, ensure_ascii=False)[:-1] + ", "
    whole = policy.encode_answer(thought + rollout.texts_N[n][rollout.action_start_N[n] :])
    taught = whole[: thought_tokens(whole, policy.decode, len(thought))]
    return SFTExample(
        rollout.image(n), rollout.prompts_N[n], taught + rollout.answers_N[n][rollout.thought_N[n] :], len(taught)
    )
