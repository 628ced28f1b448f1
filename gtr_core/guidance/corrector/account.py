"""What a run has spent on its corrector, kept on disk over resumes, and the limits that stop it."""

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gtr_core.config.corrector import EndpointConfig
from gtr_core.util.errors import UserError
from gtr_core.util.files import read_json, write_json


class BudgetSpent(UserError):  # noqa: N818 - named for the condition
    """The run may ask no more; what was bought is kept."""


class Account:
    """Requests, tokens and money of one run, of all its processes one after the other; safe between threads.

    A request is counted before it is sent, so `budget_requests` is exact. Tokens and money are known after the reply:
    those of the requests that are then under way, `concurrency` at most, can come on top of the limit.
    """

    def __init__(self, path: Path, config: EndpointConfig) -> None:
        self.path, self.config = path, config
        self._lock = threading.Lock()
        self._spent: dict[str, int] = {"requests": 0, "prompt_tokens": 0, "completion_tokens": 0}
        if path.exists():
            self._spent |= read_json(path)

    @property
    def requests(self) -> int:
        """Requests sent."""
        return self._spent["requests"]

    @property
    def tokens(self) -> int:
        """Prompt and completion tokens, as the endpoint counts them."""
        return self._spent["prompt_tokens"] + self._spent["completion_tokens"]

    @property
    def usd(self) -> float:
        """Money, by the configured prices."""
        prices = (self.config.usd_prompt, self.config.usd_completion)
        counts = (self._spent["prompt_tokens"], self._spent["completion_tokens"])
        return sum(price * count for price, count in zip(prices, counts, strict=True)) / 1e6

    def reserve(self) -> None:
        """Count one request that is about to be sent.

        Raises:
            BudgetSpent: a limit is reached.
        """
        with self._lock:
            limits = {
                "budget_requests": (self.requests, self.config.budget_requests),
                "budget_tokens": (self.tokens, self.config.budget_tokens),
                "budget_usd": (self.usd, self.config.budget_usd),
            }
            for name, (spent, limit) in limits.items():
                if limit and spent >= limit:
                    raise BudgetSpent(
                        f"The corrector's budget corrector.endpoint.{name}={limit:g} is spent: raise it and run the "
                        "same command again, the replies bought so far are kept."
                    )
            self._add(requests=1)

    def spend(self, usage: Mapping[str, Any] | None) -> None:
        """Count what a reply cost, good or not.

        Raises:
            UserError: there is a limit on tokens or money and the endpoint does not say what it used.
        """
        if usage is None:
            if self.config.budget_tokens or self.config.budget_usd:
                raise UserError(
                    "The corrector's endpoint does not tell its usage, so neither corrector.endpoint.budget_tokens nor "
                    "budget_usd can be kept: set corrector.endpoint.budget_requests in their place."
                )
            return
        with self._lock:
            self._add(
                prompt_tokens=int(usage.get("prompt_tokens") or 0),
                completion_tokens=int(usage.get("completion_tokens") or 0),
            )

    def _add(self, **counts: int) -> None:
        for name, count in counts.items():
            self._spent[name] += count
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_json(self.path, self._spent)
