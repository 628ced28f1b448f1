"""The corrector behind an API: one conversation a distinct turn, many at once (GTR, PAPER.md 1.3 and 4)."""

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gtr_core.config import Experiment
from gtr_core.config.corrector import CorrectorConfig
from gtr_core.envs.text import TextEnv
from gtr_core.guidance.corrector.account import Account
from gtr_core.guidance.corrector.cache import ReplyCache, content_key
from gtr_core.guidance.corrector.chat import Chat, Malformed
from gtr_core.guidance.corrector.client import Client, Unanswered
from gtr_core.guidance.corrector.corrections import Corrections
from gtr_core.guidance.corrector.questions import ANY, CHECKS, Verdict, messages, read_verdict
from gtr_core.guidance.corrector.tool import SOLVER_TOOL, call
from gtr_core.rollout.types import Rollout


@dataclass(frozen=True)
class _Question:
    body: dict[str, Any]
    keys: tuple[str, ...]
    turns: list[int]  # alike in picture, prompt and answer


def remote_corrector(experiment: Experiment, workspace: Path) -> "Remote":
    """The endpoint of `experiment.corrector`; its account is the experiment's, over all its runs."""
    corrector = experiment.corrector
    folder = Path(corrector.endpoint.cache or workspace / "corrector")
    return Remote(corrector, experiment.env.id, folder, f"{experiment.name}-{experiment.method}-s{experiment.seed}")


class Remote:
    """A vision-language model that judges thoughts; its replies are kept in `folder`, and so is the account.

    Args:
        config: whom to ask, and how.
        env_id: decides what is checked; an environment without checks of its own is asked the general ones.
        folder: of replies, shared by all runs, and of accounts.
        account: the run whose budget it is.
    """

    def __init__(self, config: CorrectorConfig, env_id: str, folder: Path, account: str) -> None:
        self.config, self.checks = config, CHECKS.get(env_id, ANY)
        self.account = Account(folder / "accounts" / f"{account}.json", config.endpoint)
        self.client = Client(Chat(config.endpoint), ReplyCache(folder / "replies"), self.account, config.endpoint)

    def __call__(self, rollout: Rollout, states: Iterable[tuple[int, TextEnv]]) -> Corrections:
        """See `Corrector`; questions that find no answer are skipped and counted.

        Raises:
            UserError: the budget is spent, or the endpoint refuses or is away: nothing is lost that was bought.
        """
        questions = self._questions(rollout, states)
        verdicts: dict[int, Verdict] = {}
        skipped = 0
        with ThreadPoolExecutor(self.config.endpoint.concurrency) as pool, ExitStack() as on_failure:
            asked = {pool.submit(self._judge, question): question for question in questions}
            on_failure.callback(pool.shutdown, cancel_futures=True)
            on_failure.callback(self.client.stop)  # comes first: nothing is asked, and paid for, after a failure
            for future in as_completed(asked):
                turns = asked[future].turns
                try:
                    verdicts |= dict.fromkeys(turns, future.result())
                except Unanswered:
                    skipped += len(turns)
            on_failure.pop_all()
        fields = {n: v.fields for n, v in verdicts.items() if v.fields is not None}
        return Corrections(fields, len(verdicts) - len(fields), skipped, self._figures())

    def _questions(self, rollout: Rollout, states: Iterable[tuple[int, TextEnv]]) -> list[_Question]:
        """Turns alike make one question."""
        found: dict[str, _Question] = {}
        for n, env in states:
            opening = messages(rollout.image(n), env.game.prompt(), rollout.texts_N[n], env.keys, self.checks)
            body = {
                "model": self.config.model,
                "messages": opening,
                "temperature": self.config.temperature,
                "max_tokens": self.config.reply_tokens,
                "response_format": {"type": "json_object"},
            }
            found.setdefault(content_key(body), _Question(body, env.keys, [])).turns.append(n)
        return list(found.values())

    def _judge(self, question: _Question) -> Verdict:
        """One conversation: the model may call the solver for some rounds, then it must judge."""
        rounds = self.config.tool_rounds if self.config.tool and self.checks.solver else 0
        body = question.body
        for _ in range(rounds):
            body = body | {"tools": [SOLVER_TOOL], "tool_choice": "auto"}
            answer = self.client.request(body, lambda message: _tool_turns(message) or _verdict(message, question.keys))
            if isinstance(answer, Verdict):
                return answer
            body = body | {"messages": [*body["messages"], *answer]}
        final = body | ({"tool_choice": "none"} if rounds else {})
        return self.client.request(final, lambda message: _verdict(message, question.keys))

    def _figures(self) -> dict[str, float]:
        """The run's account so far: over all iterations, so that it draws as a rising curve."""
        return {
            "guidance/corrector_requests": float(self.account.requests),
            "guidance/corrector_tokens": float(self.account.tokens),
            "guidance/corrector_usd": self.account.usd,
        }


def _verdict(message: object, keys: Sequence[str]) -> Verdict:
    return read_verdict(message.get("content") if isinstance(message, dict) else None, keys)


def _tool_turns(message: object) -> list[dict[str, Any]]:
    """The model's calls and the tool's answers, as the next messages of the conversation; empty without calls."""
    calls = message.get("tool_calls") if isinstance(message, dict) else None
    if not isinstance(message, dict) or not calls:
        return []
    if not isinstance(calls, list) or not all(isinstance(c, dict) and isinstance(c.get("id"), str) for c in calls):
        raise Malformed("the reply's tool calls have no ids")
    answers = []
    for each in calls:
        function = each.get("function")
        named: Mapping[str, Any] = function if isinstance(function, dict) else {}
        content = call(named.get("name"), named.get("arguments"))
        answers.append({"role": "tool", "tool_call_id": each["id"], "content": content})
    return [{"role": "assistant", "content": message.get("content"), "tool_calls": calls}, *answers]
