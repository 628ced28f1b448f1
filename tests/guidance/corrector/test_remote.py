"""The corrector behind an API, whole: from a rollout to examples, through a real server that may misbehave."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gtr_core.agent.policy import Policy
from gtr_core.config.corrector import CorrectorConfig, EndpointConfig
from gtr_core.envs import make
from gtr_core.envs.text import TextEnv
from gtr_core.guidance.corrected import correct
from gtr_core.guidance.corrector.account import BudgetSpent
from gtr_core.guidance.corrector.corrections import Corrections
from gtr_core.guidance.corrector.remote import Remote
from gtr_core.guidance.corrector.tool import NAME
from gtr_core.rollout.collect import replay
from gtr_core.rollout.types import Rollout, SFTExample
from tests.agent.small import ENV
from tests.guidance.corrector.server import Act, Drop, Endpoint, Hang, Say, Status, no, yes
from tests.guidance.made import first

FAST = EndpointConfig(key_env=None, timeout=0.4, tries=3, backoff=0.001, concurrency=4)
FIELDS = {"current number": 1, "target number": 3, "thoughts": "1 is less than 3, so +"}


def remote(server: Endpoint, folder: Path, env_id: str = ENV.id, **endpoint: Any) -> Remote:
    config = CorrectorConfig(kind="endpoint", model="m", endpoint=replace(FAST, url=server.url, **endpoint))
    return Remote(config, env_id, folder, "run")


def guided(policy: Policy, rollout: Rollout, corrector: Remote) -> tuple[list[SFTExample], dict[str, float]]:
    return correct(policy, rollout, replay(rollout, ENV, ("rollout", 1, 1)), corrector)


def about(body: dict[str, Any]) -> str:
    """The text of a question."""
    return str(body["messages"][1]["content"][1]["text"])


def honest(number: int, body: dict[str, Any]) -> Act:
    """YES to every answer that says +, a correction for the others."""
    return yes() if '"action": "+"' in about(body).split("ANSWER")[1] else no(**FIELDS)


def test_corrections_become_examples_and_right_thoughts_do_not(
    policy: Policy, rollout: Rollout, tmp_path: Path
) -> None:
    """PAPER.md 1.3, with everything that the corrector needs in each request."""
    with Endpoint(honest) as server:
        examples, metrics = guided(policy, rollout, remote(server, tmp_path))
    valid = [n for n, yes in enumerate(rollout.valid_T_E.flatten().tolist()) if yes]
    plus = [n for n in valid if '"action": "+"' in rollout.texts_N[n]]
    assert 0 < len(plus) < len(valid)
    assert metrics["guidance/judged_right"] == len(plus) and len(examples) == len(valid) - len(plus)
    assert all('"thoughts": "1 is less than 3, so +"' in policy.decode(s.answer) for s in examples)
    body = server.requests[0]
    assert (body["model"], body["temperature"], body["max_tokens"]) == ("m", 0.4, 400)
    assert body["response_format"] == {"type": "json_object"} and "tools" not in body
    prompts = {env.game.prompt() for _, env in replay(rollout, ENV, ("rollout", 1, 1))}
    assert any(prompt in about(body) for prompt in prompts)


def test_turns_alike_are_asked_about_once(policy: Policy, rollout: Rollout, tmp_path: Path) -> None:
    """And every one of them gets its example."""
    with Endpoint(lambda number, body: no(**FIELDS)) as server:
        examples, metrics = guided(policy, rollout, remote(server, tmp_path))
    valid = [n for n, yes in enumerate(rollout.valid_T_E.flatten().tolist()) if yes]
    alike = {(rollout.image(n).tobytes(), rollout.texts_N[n]) for n in valid}
    assert len(examples) == len(valid) and len(server.requests) == len(alike) <= len(valid)
    assert metrics["guidance/corrector_requests"] == len(alike)


def test_a_second_run_asks_nothing_and_teaches_the_same(policy: Policy, rollout: Rollout, tmp_path: Path) -> None:
    """After a crash between asking and publishing: the same examples from the cache, for nothing."""
    with Endpoint(honest) as server:
        examples, metrics = guided(policy, rollout, remote(server, tmp_path))
        asked = len(server.requests)
        again, same = guided(policy, rollout, remote(server, tmp_path))
        assert len(server.requests) == asked and same == metrics
    assert [(s.answer, s.thought) for s in again] == [(s.answer, s.thought) for s in examples]


@pytest.mark.parametrize(
    "bad",
    [
        Status(429, headers={"Retry-After": "0.01"}),
        Status(500),
        Hang(),
        Drop(),
        Status(200, b"{"),
        Say("{}"),
        no(thoughts="only"),
        Say(None, tool_calls=[{"id": "1", "function": {"name": NAME, "arguments": "{}"}}]),
    ],
    ids=lambda act: str(act)[:40],
)
def test_a_server_that_fails_at_first_costs_tries_and_no_example(
    policy: Policy, rollout: Rollout, tmp_path: Path, bad: Act
) -> None:
    seen: set[str] = set()

    def behave(number: int, body: dict[str, Any]) -> Act:
        new = about(body) not in seen
        seen.add(about(body))
        return bad if new else no(**FIELDS)

    with Endpoint(behave) as server:
        examples, metrics = guided(policy, rollout, remote(server, tmp_path))
    assert len(examples) == int(rollout.valid_T_E.sum()) and metrics["guidance/skipped_uncorrected"] == 0
    assert metrics["guidance/corrector_requests"] == 2 * len(seen)


def test_a_turn_that_finds_no_answer_is_skipped_and_counted(policy: Policy, rollout: Rollout, tmp_path: Path) -> None:
    """PAPER.md, invariant 31 for the corrector: the others are taught."""
    valid = [n for n, yes in enumerate(rollout.valid_T_E.flatten().tolist()) if yes]
    lost = rollout.texts_N[valid[0]]
    with Endpoint(lambda number, body: Status(500) if lost in about(body) else no(**FIELDS)) as server:
        examples, metrics = guided(policy, rollout, remote(server, tmp_path))
    skipped = sum(rollout.texts_N[n] == lost for n in valid)
    assert metrics["guidance/skipped_uncorrected"] == skipped > 0 and len(examples) == len(valid) - skipped


def test_a_spent_budget_ends_it_and_keeps_what_was_bought(policy: Policy, rollout: Rollout, tmp_path: Path) -> None:
    """With a higher budget it goes on where it stopped: no request is sent twice."""
    with Endpoint(honest) as server:
        with pytest.raises(BudgetSpent, match="budget_requests=2"):
            guided(policy, rollout, remote(server, tmp_path, budget_requests=2))
        assert len(server.requests) == 2
        assert len(list((tmp_path / "replies").rglob("*.json"))) == 2
        examples, metrics = guided(policy, rollout, remote(server, tmp_path, budget_requests=100))
        questions = {json.dumps(body) for body in server.requests}
        assert len(server.requests) == len(questions) == metrics["guidance/corrector_requests"] and examples


def test_many_are_asked_at_once_and_no_more_than_allowed(policy: Policy, rollout: Rollout, tmp_path: Path) -> None:
    """Two at a time: each reply waits until a second request is there, and the third is never seen beside them."""
    import threading

    lock, here, most = threading.Lock(), 0, 0
    pair = threading.Barrier(2, timeout=5)

    def behave(number: int, body: dict[str, Any]) -> Act:
        nonlocal here, most
        with lock:
            here, most = here + 1, max(most, here + 1)
        if number < 2:
            pair.wait()
        with lock:
            here -= 1
        return yes()

    with Endpoint(behave) as server:
        guided(policy, rollout, remote(server, tmp_path, concurrency=2, timeout=10.0))
    assert most == 2 and len(server.requests) > 2


def deal(cards: list[str]) -> TextEnv:
    env = make("gtr/Points24-v0")
    env.reset(1, {"cards": cards})
    return env


def asked_about(rollout: Rollout, server: Endpoint, folder: Path, env: TextEnv) -> Corrections:
    n = first(rollout, valid=True)
    return remote(server, folder, "gtr/Points24-v0")(rollout, [(n, env)])


def tool_call(arguments: str, name: str = NAME) -> Say:
    return Say(None, [{"id": "c1", "type": "function", "function": {"name": name, "arguments": arguments}}])


CARDS = ["S2", "H3", "D4", "C6"]
PLAN = {"cards": [2, 3, 4, 6], "formula": "", "thoughts": "2*3*4/(6-5)"}


def test_points24_may_call_the_solver(rollout: Rollout, tmp_path: Path) -> None:
    """The call goes back with its answer, in the form that the API asks for."""

    def behave(number: int, body: dict[str, Any]) -> Act:
        if number == 0:
            assert body["tools"][0]["function"]["name"] == NAME and body["tool_choice"] == "auto"
            return tool_call('{"cards": [2, 3, 4, 6], "target": 24}')
        call, result = body["messages"][2:]
        assert call["tool_calls"][0]["id"] == result["tool_call_id"] == "c1" and result["role"] == "tool"
        formula = json.loads(result["content"])["formulas"][0]
        return no(**PLAN | {"thoughts": formula})

    with Endpoint(behave) as server:
        found = asked_about(rollout, server, tmp_path, deal(CARDS))
        (fields,) = found.fields.values()
        assert deal(CARDS).game.judge(fields)["plan"] and len(server.requests) == 2
        asked_about(rollout, server, tmp_path, deal(CARDS))
        assert len(server.requests) == 2, "both replies of the conversation are kept"


@pytest.mark.parametrize("wrong", [tool_call("{}"), tool_call("{", NAME), tool_call("{}", "solve")])
def test_a_wrong_tool_call_is_answered_with_what_is_wrong(rollout: Rollout, tmp_path: Path, wrong: Say) -> None:
    def behave(number: int, body: dict[str, Any]) -> Act:
        if number == 0:
            return wrong
        assert "error" in json.loads(body["messages"][-1]["content"])
        return no(**PLAN)

    with Endpoint(behave) as server:
        assert len(asked_about(rollout, server, tmp_path, deal(CARDS)).fields) == 1


def test_a_model_that_only_calls_the_tool_is_made_to_judge(rollout: Rollout, tmp_path: Path) -> None:
    """After three rounds no call is taken any more; one that still calls is skipped."""
    call = tool_call('{"cards": [2, 3, 4, 6], "target": 24}')
    with Endpoint(lambda number, body: yes() if body["tool_choice"] == "none" else call) as server:
        assert asked_about(rollout, server, tmp_path / "a", deal(CARDS)).right == 1
        assert [body["tool_choice"] for body in server.requests] == ["auto"] * 3 + ["none"]
    with Endpoint(lambda number, body: call) as server:
        assert asked_about(rollout, server, tmp_path / "b", deal(CARDS)).skipped == 1


def test_a_tool_call_without_an_id_is_asked_again(rollout: Rollout, tmp_path: Path) -> None:
    acts = [Say(None, [{"function": {"name": NAME}}]), Say(None, "call"), yes()]
    with Endpoint(lambda number, body: acts[number]) as server:
        assert asked_about(rollout, server, tmp_path, deal(CARDS)).right == 1


def test_without_the_tool_none_is_offered(rollout: Rollout, tmp_path: Path) -> None:
    with Endpoint(lambda number, body: yes()) as server:
        config = CorrectorConfig(kind="endpoint", tool=False, endpoint=replace(FAST, url=server.url))
        n = first(rollout, valid=True)
        Remote(config, "gtr/Points24-v0", tmp_path, "run")(rollout, [(n, deal(CARDS))])
        assert "tools" not in server.requests[0] and "tool_choice" not in server.requests[0]
