"""Whether a server is up and well, asked by HTTP."""

from functools import cache

import httpx


def is_well(url: str, timeout: float) -> bool:
    """Whether a GET of the URL is answered by 200; each step of the exchange may take `timeout` seconds."""
    try:
        beyond = httpx.URL(url).host not in ("127.0.0.1", "localhost", "::1")
        return _http(through_proxies=beyond).get(url, timeout=timeout).status_code == httpx.codes.OK
    except (httpx.HTTPError, httpx.InvalidURL):
        return False


@cache
def _http(*, through_proxies: bool) -> httpx.Client:
    """One client for all questions, since to make one costs fifty times what a question does.

    No connection is kept, since servers come and go. A proxy never stands before this machine's own servers.
    """
    return httpx.Client(trust_env=through_proxies, limits=httpx.Limits(max_keepalive_connections=0))
