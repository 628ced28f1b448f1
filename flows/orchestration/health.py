"""Whether a server is up and well, asked by HTTP."""

from functools import cache

import httpx


def is_well(url: str, timeout: float) -> bool:
    """Whether a GET of the URL is answered by 200; each step of the exchange may take `timeout` seconds."""
    try:
        return _http().get(url, timeout=timeout).status_code == httpx.codes.OK
    except (httpx.HTTPError, httpx.InvalidURL):
        return False


@cache
def _http() -> httpx.Client:
    """One client for all questions, since to make one costs fifty times what a question does.

    No connection is kept, since servers come and go.
    """
    return httpx.Client(trust_env=False, limits=httpx.Limits(max_keepalive_connections=0))
