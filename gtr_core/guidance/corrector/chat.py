"""One request to an OpenAI-compatible chat endpoint, and every way in which it can go wrong."""

import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import httpx

from gtr_core.config.corrector import EndpointConfig
from gtr_core.util.errors import ConfigError, UserError

BUSY = (408, 409, 425, 429)  # worth another try, as every 5xx is


class NoAnswer(Exception):  # noqa: N818 - named for the condition
    """A try without an answer; `wait` is what the endpoint asks to wait before the next one, in seconds."""

    def __init__(self, reason: str, wait: float = 0.0) -> None:
        super().__init__(reason)
        self.wait = wait


class Unavailable(NoAnswer):
    """Busy, broken, away, too slow, or cut off."""


class Malformed(NoAnswer):
    """A reply that is not what was asked for."""


@dataclass(frozen=True)
class Reply:
    """A chat completion as it came: its message is checked by who asked."""

    message: object
    usage: Mapping[str, Any] | None


class Chat:
    """The endpoint; safe between threads."""

    def __init__(self, config: EndpointConfig) -> None:
        """Read the key from the environment; raises ConfigError when it is not there or the URL is none."""
        key = os.environ.get(config.key_env, "") if config.key_env else ""
        if config.key_env and not key:
            raise ConfigError(
                f"The corrector's key is read from the environment variable {config.key_env}, which is not set: set it,"
                " or corrector.endpoint.key_env=null for an endpoint without keys."
            )
        try:
            self._url = httpx.URL(config.url.rstrip("/") + "/chat/completions")
        except httpx.InvalidURL as error:
            raise ConfigError(f"corrector.endpoint.url='{config.url}' is no URL: {error}.") from error
        if not self._url.host:
            raise ConfigError(f"corrector.endpoint.url='{config.url}' names no host.")
        self._timeout = config.timeout
        # Redirects are refused: they would take the key to another host.
        self._http = httpx.Client(
            timeout=config.timeout,
            limits=httpx.Limits(max_connections=config.concurrency),
            headers={"Authorization": f"Bearer {key}"} if key else {},
            follow_redirects=False,
        )

    def post(self, body: dict[str, Any]) -> Reply:
        """One try.

        Raises:
            NoAnswer: nothing, or nothing of use; another try may do better.
            UserError: refused for a reason that another try cannot change.
        """
        status, headers, content = self._exchange(body)
        if status in BUSY or status >= 500:
            raise Unavailable(f"status {status}{_said(content)}", _retry_after(headers.get("Retry-After", "")))
        if status != 200:
            raise UserError(f"The corrector's endpoint {self._url} refuses with status {status}{_said(content)}.")
        try:
            value = json.loads(content)
            usage = value.get("usage")
            choices = value.get("choices")
        except (ValueError, AttributeError, RecursionError) as error:
            raise Malformed("the reply is no JSON object") from error
        choice = choices[0] if isinstance(choices, list) and choices else None
        message = choice.get("message") if isinstance(choice, dict) else None
        return Reply(message, usage if isinstance(usage, dict) else None)

    def _exchange(self, body: dict[str, Any]) -> tuple[int, httpx.Headers, bytes]:
        deadline = time.monotonic() + self._timeout  # httpx's own limit is on each read, not on the whole
        content = bytearray()
        try:
            with self._http.stream("POST", self._url, json=body) as response:
                for part in response.iter_bytes():
                    content += part
                    if time.monotonic() > deadline:
                        raise Unavailable(f"no whole reply within {self._timeout:g} s")
                return response.status_code, response.headers, bytes(content)
        except httpx.TimeoutException as error:
            raise Unavailable(f"no reply within {self._timeout:g} s") from error
        except httpx.RequestError as error:
            raise Unavailable(f"the connection failed ({type(error).__name__}: {error})") from error


def _retry_after(header: str) -> float:
    """Seconds, from seconds or an HTTP date; 0 where the header says nothing."""
    try:
        return max(0.0, float(header))
    except ValueError:
        pass
    try:
        return max(0.0, (parsedate_to_datetime(header) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return 0.0


def _said(content: bytes) -> str:
    """The endpoint's own words, in one short line."""
    text = " ".join(content.decode(errors="replace").split())
    return f" ({text[:200]})" if text else ""
