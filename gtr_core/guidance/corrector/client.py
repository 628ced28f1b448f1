"""Asks until there is an answer: from the cache, or from the endpoint with patience and within the budget."""

import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

from gtr_core.config.corrector import EndpointConfig
from gtr_core.guidance.corrector.account import Account
from gtr_core.guidance.corrector.cache import ReplyCache, content_key
from gtr_core.guidance.corrector.chat import Chat, Malformed, NoAnswer
from gtr_core.seeding.streams import generator
from gtr_core.util.errors import UserError

T = TypeVar("T")


class Unanswered(Exception):  # noqa: N818 - named for the condition
    """A question that no try could answer; its turn is skipped and counted."""


class Client:
    """A chat endpoint behind a cache and a budget; safe between threads.

    Args:
        chat: sends one request.
        cache: replies bought earlier, by any run.
        account: what this run may spend.
        config: patience.
        wait: waits some seconds, or less when `stop` is called.
    """

    def __init__(
        self,
        chat: Chat,
        cache: ReplyCache,
        account: Account,
        config: EndpointConfig,
        wait: Callable[[float], object] | None = None,
    ) -> None:
        self.chat, self.cache, self.account, self.config = chat, cache, account, config
        self._stopped = threading.Event()
        self._wait = wait or self._stopped.wait
        self._lock = threading.Lock()
        self._failed_in_row = 0

    def request(self, body: dict[str, Any], read: Callable[[object], T]) -> T:
        """The answer to a request, as `read` reads it out of the reply's message.

        Only a reply that `read` accepts is kept. Busy, broken, slow and malformed replies are asked again, after
        `backoff` seconds doubled at each try, with half of the wait at random (its own stream for each request and
        try), and no sooner than the endpoint's Retry-After says.

        Raises:
            Unanswered: every try failed.
            UserError: the endpoint refuses, is away, or wants a longer wait than is allowed; or the budget is spent.
        """
        key = content_key(body)
        kept = self.cache.get(key)
        if kept is not None:
            with suppress(Malformed):  # kept by a reader that asked for less: bought anew
                return read(kept)
        missed = NoAnswer("")
        for attempt in range(self.config.tries):
            if attempt:
                self._wait(self._pause(key, attempt, missed.wait))
            if self._stopped.is_set():
                raise Unanswered("the run stops")
            self.account.reserve()
            try:
                return self._buy(key, body, read)
            except NoAnswer as error:
                missed = error
        self._count_failure(str(missed))
        raise Unanswered(str(missed))

    def stop(self) -> None:
        """Let waiting threads go; no further request is sent."""
        self._stopped.set()

    def _buy(self, key: str, body: dict[str, Any], read: Callable[[object], T]) -> T:
        reply = self.chat.post(body)
        self.account.spend(reply.usage)
        answer = read(reply.message)
        self.cache.put(key, reply.message)
        with self._lock:
            self._failed_in_row = 0
        return answer

    def _pause(self, key: str, attempt: int, wanted: float) -> float:
        """Seconds before the given try, counted from 1."""
        if wanted > self.config.longest_wait:
            raise UserError(
                f"The corrector's endpoint wants {wanted:.0f} s of patience, more than "
                f"corrector.endpoint.longest_wait={self.config.longest_wait:g}: run the same command again later, the "
                "replies bought so far are kept."
            )
        share = 0.5 + 0.5 * generator("backoff", key, attempt).random()
        backoff = self.config.backoff * float(2 ** (attempt - 1)) * share
        return max(wanted, min(backoff, self.config.longest_wait))

    def _count_failure(self, reason: str) -> None:
        with self._lock:
            self._failed_in_row += 1
            failed = self._failed_in_row
        if failed >= self.config.give_up:
            raise UserError(
                f"The corrector's endpoint {self.config.url} left {failed} questions in a row unanswered, the last one "
                f"for this: {reason}; run the same command again when it works, the replies bought so far are kept."
            )
