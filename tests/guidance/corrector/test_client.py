"""The client against a real server that misbehaves: patience, limits, and a cache that is never asked twice."""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest

from gtr_core.config.corrector import EndpointConfig
from gtr_core.guidance.corrector.account import Account, BudgetSpent
from gtr_core.guidance.corrector.cache import ReplyCache, content_key
from gtr_core.guidance.corrector.chat import Chat, Malformed
from gtr_core.guidance.corrector.client import Client, Unanswered
from gtr_core.util.errors import ConfigError, UserError
from tests.guidance.corrector.server import Behave, Drop, Endpoint, Hang, Say, Status, in_turn

FAST = EndpointConfig(key_env=None, timeout=0.3, tries=4, backoff=0.5, longest_wait=30.0)
BODY = {"model": "m", "messages": [{"role": "user", "content": "what?"}], "temperature": 0.4}
GOOD = Say('{"is": "good"}')


def read(message: object) -> str:
    """Takes a JSON object with `is` in the message's text."""
    try:
        assert isinstance(message, dict)
        return str(json.loads(message["content"])["is"])
    except (AssertionError, ValueError, KeyError, TypeError) as error:
        raise Malformed("not what was asked for") from error


class Asker:
    """A client of a misbehaving server, with its waits written down instead of waited."""

    def __init__(self, server: Endpoint, folder: Path, config: EndpointConfig = FAST) -> None:
        self.server, self.waits = server, list[float]()
        self.config = replace(config, url=server.url)
        self.account = Account(folder / "account.json", self.config)
        cache = ReplyCache(folder / "replies")
        self.client = Client(Chat(self.config), cache, self.account, self.config, self.waits.append)

    def request(self, body: dict[str, Any] = BODY) -> str:
        return self.client.request(body, read)


@pytest.fixture
def serve() -> Iterator[Any]:
    """Start servers that end with the test."""
    started: list[Endpoint] = []

    def start(behave: Behave) -> Endpoint:
        started.append(Endpoint(behave))
        return started[-1].__enter__()

    yield start
    for server in started:
        server.__exit__()


def test_an_answer_comes_back_as_read(serve: Any, tmp_path: Path) -> None:
    server = serve(in_turn(GOOD))
    asker = Asker(server, tmp_path)
    assert asker.request() == "good" and asker.waits == []
    assert server.requests == [BODY] and server.paths == ["/v1/chat/completions"]
    assert (asker.account.requests, asker.account.tokens) == (1, 1100)


@pytest.mark.parametrize(
    "bad",
    [
        Status(429, b"slow down"),
        Status(500),
        Status(503, b"<html>overloaded</html>"),
        Status(408),
        Hang(),
        Hang(drip=True),
        Drop(),
        Status(200, b"{'choices': ["),
        Status(200, b"[" * 100_000),
        Status(200, b"[]"),
        Status(200, b'{"choices": []}'),
        Status(200, b'{"choices": [{"message": "text"}]}'),
        Status(200, b""),
        Say(None),
        Say("I am sorry."),
        Say('{"was": "good"}'),
    ],
    ids=lambda act: str(act)[:60],
)
def test_what_goes_wrong_is_asked_again(serve: Any, tmp_path: Path, bad: Any) -> None:
    """Twice in a row, then well; a bad reply is never kept."""
    asker = Asker(serve(in_turn(bad, bad, GOOD)), tmp_path)
    assert asker.request() == "good"
    assert len(asker.server.requests) == 3 and asker.account.requests == 3 and len(asker.waits) == 2
    assert len(list((tmp_path / "replies").rglob("*.json"))) == 1


def test_a_question_without_an_answer_is_given_up_after_its_tries(serve: Any, tmp_path: Path) -> None:
    asker = Asker(serve(in_turn(Status(500, b"out of order"))), tmp_path)
    with pytest.raises(Unanswered, match=r"status 500 \(out of order\)"):
        asker.request()
    assert len(asker.server.requests) == 4 and len(asker.waits) == 3


def test_waits_double_and_differ_by_question(serve: Any, tmp_path: Path) -> None:
    """Back-off with jitter from a generator of the question's own: half to all of 0.5, 1, 2 s, the same each time."""
    waits = []
    for i in (0, 1, 0):
        asker = Asker(serve(in_turn(Status(503))), tmp_path / str(len(waits)))
        with pytest.raises(Unanswered):
            asker.request(BODY | {"seed": i})
        assert all(0.5 <= wait / full <= 1 for wait, full in zip(asker.waits, (0.5, 1, 2), strict=True))
        waits.append(asker.waits)
    assert waits[0] == waits[2] != waits[1]


def test_no_wait_is_longer_than_the_longest(serve: Any, tmp_path: Path) -> None:
    asker = Asker(serve(in_turn(Status(503))), tmp_path, replace(FAST, backoff=100.0, longest_wait=3.0))
    with pytest.raises(Unanswered):
        asker.request()
    assert asker.waits == [3.0] * 3


def test_retry_after_is_honoured(serve: Any, tmp_path: Path) -> None:
    """As seconds or as a date, where it is longer than the back-off."""
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=20), usegmt=True)
    acts = [Status(429, headers={"Retry-After": value}) for value in ("17", date, "soon")]
    asker = Asker(serve(in_turn(*acts, GOOD)), tmp_path)
    assert asker.request() == "good"
    assert asker.waits[0] == 17 and 10 < asker.waits[1] <= 20 and asker.waits[2] <= 2


def test_an_endpoint_that_asks_for_more_patience_than_there_is_ends_the_run(serve: Any, tmp_path: Path) -> None:
    asker = Asker(serve(in_turn(Status(429, headers={"Retry-After": "3600"}))), tmp_path)
    with pytest.raises(UserError, match=r"wants 3600 s of patience, more than .*longest_wait=30"):
        asker.request()


@pytest.mark.parametrize("code", [400, 401, 403, 404, 422, 302])
def test_a_refusal_ends_the_run_at_once(serve: Any, tmp_path: Path, code: int) -> None:
    """A wrong key, model or URL is the user's to mend; a redirect would take the key elsewhere."""
    headers = {"Location": "http://127.0.0.1:9/"} if code == 302 else {}
    asker = Asker(serve(in_turn(Status(code, b'{"error": "no such model"}', headers))), tmp_path)
    with pytest.raises(UserError, match=f"refuses with status {code} .*no such model"):
        asker.request()
    assert len(asker.server.requests) == 1


def test_an_endpoint_that_is_away_ends_the_run_after_some_questions(tmp_path: Path) -> None:
    with Endpoint(in_turn(GOOD)) as gone:
        pass
    asker = Asker(gone, tmp_path, replace(FAST, tries=2, give_up=3))
    for i in range(2):
        with pytest.raises(Unanswered, match="connection failed"):
            asker.request(BODY | {"seed": i})
    with pytest.raises(UserError, match="left 3 questions in a row unanswered"):
        asker.request(BODY | {"seed": 2})


def test_a_good_answer_between_failures_starts_the_count_anew(serve: Any, tmp_path: Path) -> None:
    asker = Asker(serve(lambda n, body: GOOD if body["seed"] % 2 else Status(500)), tmp_path, replace(FAST, give_up=2))
    for seed in range(6):
        if seed % 2:
            assert asker.request(BODY | {"seed": seed}) == "good"
        else:
            with pytest.raises(Unanswered):
                asker.request(BODY | {"seed": seed})


def test_after_a_restart_nothing_is_asked_twice(serve: Any, tmp_path: Path) -> None:
    """The cache is on disk, by content: another question is another one, the same one costs nothing."""
    server = serve(in_turn(GOOD))
    Asker(server, tmp_path).request()
    again = Asker(server, tmp_path)
    assert again.request() == "good" and len(server.requests) == 1 and again.account.requests == 1
    for change in ({"model": "n"}, {"temperature": 0.5}, {"messages": []}, {"tools": []}):
        again.request(BODY | change)
    assert len(server.requests) == 5


def test_a_damaged_reply_is_bought_anew(serve: Any, tmp_path: Path) -> None:
    server = serve(in_turn(GOOD))
    Asker(server, tmp_path).request()
    (file,) = (tmp_path / "replies").rglob("*.json")
    for damage in ('{"content": "{', '{"content": "no"}'):
        file.write_text(damage)
        assert Asker(server, tmp_path).request() == "good"
    assert len(server.requests) == 3 and file.stem == content_key(BODY)


def test_the_budget_of_requests_is_exact_over_restarts(serve: Any, tmp_path: Path) -> None:
    """Failed tries count too; what was bought before stays readable."""
    server = serve(in_turn(Status(500), GOOD))
    config = replace(FAST, budget_requests=3)
    Asker(server, tmp_path, config).request(BODY | {"seed": 0})
    Asker(server, tmp_path, config).request(BODY | {"seed": 1})
    last = Asker(server, tmp_path, config)
    with pytest.raises(BudgetSpent, match="budget_requests=3 is spent: raise it") as caught:
        last.request(BODY | {"seed": 2})
    assert "\n" not in str(caught.value) and len(server.requests) == 3
    assert last.request(BODY | {"seed": 0}) == "good"
    assert Asker(server, tmp_path, replace(FAST, budget_requests=4)).request(BODY | {"seed": 2}) == "good"


@pytest.mark.parametrize(
    ("limit", "asked"),
    [
        ({"budget_tokens": 2000}, 2),
        ({"budget_usd": 0.009, "usd_prompt": 2.5, "usd_completion": 10.0}, 3),
    ],
)
def test_budgets_of_tokens_and_money_stop_the_run(serve: Any, tmp_path: Path, limit: Any, asked: int) -> None:
    """1000 prompt and 100 completion tokens a reply: 2.5 + 1 thousandths of a dollar."""
    asker = Asker(serve(in_turn(GOOD)), tmp_path, replace(FAST, **limit))
    for seed in range(asked):
        asker.request(BODY | {"seed": seed})
    with pytest.raises(BudgetSpent, match=f"corrector.endpoint.{next(iter(limit))}="):
        asker.request(BODY | {"seed": asked})
    assert asker.account.tokens == 1100 * asked
    assert asker.account.usd == pytest.approx(0.0035 * asked if "budget_usd" in limit else 0.0)


def test_a_malformed_reply_is_paid_for(serve: Any, tmp_path: Path) -> None:
    asker = Asker(serve(in_turn(Say("?"), GOOD)), tmp_path)
    asker.request()
    assert asker.account.tokens == 2200


def test_a_limit_that_cannot_be_kept_is_refused(serve: Any, tmp_path: Path) -> None:
    asker = Asker(serve(in_turn(Say('{"is": "good"}', usage=None))), tmp_path, replace(FAST, budget_tokens=10))
    with pytest.raises(UserError, match="does not tell its usage"):
        asker.request()
    free = Asker(asker.server, tmp_path / "other")
    assert free.request() == "good" and free.account.tokens == 0


def test_a_stopped_client_sends_nothing_more(serve: Any, tmp_path: Path) -> None:
    asker = Asker(serve(in_turn(GOOD)), tmp_path)
    asker.client.stop()
    with pytest.raises(Unanswered):
        asker.request()
    assert asker.server.requests == []


def test_the_key_goes_into_the_header_and_nowhere_else(
    serve: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_KEY", "sk-secret")
    server = serve(in_turn(Status(500), GOOD, Status(400)))
    asker = Asker(server, tmp_path, replace(FAST, key_env="SOME_KEY"))
    asker.request()
    assert server.headers[0]["Authorization"] == "Bearer sk-secret"
    with pytest.raises(UserError) as caught:
        asker.request(BODY | {"seed": 1})
    assert "secret" not in str(caught.value) + repr(asker.config)
    assert all(b"secret" not in f.read_bytes() for f in tmp_path.rglob("*") if f.is_file())


def test_a_missing_key_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SOME_KEY", raising=False)
    with pytest.raises(ConfigError, match="SOME_KEY, which is not set"):
        Chat(EndpointConfig(key_env="SOME_KEY"))


@pytest.mark.parametrize("url", ["ftp://x", "api.openai.com", "http://", "http://x:y"])
def test_what_is_no_url_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="url="):
        Chat(EndpointConfig(url=url, key_env=None))
