"""Prefect's API and its work pools, and what can be wrong with them, each in one sentence."""

import difflib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.objects import WorkPool
from prefect.exceptions import ObjectNotFound

from flows.orchestration.server import prefect_server
from gtr_core.util.errors import UserError

ROOT = Path(__file__).resolve().parents[2]


@contextmanager
def prefect_api(home: Path) -> Iterator[SyncPrefectClient]:
    """A client of the server at PREFECT_API_URL, or of the workspace's own.

    Raises:
        UserError: the server is away, refuses the login, or is lost in the block.
    """
    with prefect_server(home) as url, get_client(sync_client=True) as client:
        try:
            client.read_work_pools(limit=1)
            yield client
        except httpx.HTTPStatusError as error:
            if error.response.status_code not in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
                raise
            raise UserError(
                f"The Prefect server at {url} refuses the login: set PREFECT_API_AUTH_STRING (user:password) or "
                "PREFECT_API_KEY to what it wants."
            ) from error
        except (httpx.TransportError, RuntimeError) as error:
            if isinstance(error, RuntimeError) and not isinstance(error.__cause__, httpx.TransportError):
                raise
            raise UserError(
                f"The Prefect server at {url} does not answer ({type(error).__name__}): start it, or set "
                "PREFECT_API_URL to one that runs, or unset it to use the workspace's own."
            ) from error


def read_pool(client: SyncPrefectClient, name: str, *, make: bool = False, any_type: bool = False) -> WorkPool:
    """The work pool of processes (or of `any_type`) of that name; `make` it when there is none.

    Raises:
        UserError: there is none, or it is of another type.
    """
    try:
        pool = client.read_work_pool(name)
    except ObjectNotFound as error:
        if make:
            return client.create_work_pool(WorkPoolCreate(name=name, type="process"))
        known = [pool.name for pool in client.read_work_pools()]
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean '{near[0]}'?" if near else f"`gtr deploy --pool {name}` makes it."
        raise UserError(f"There is no work pool '{name}' at {client.api_url}: {hint}") from error
    if pool.type != "process" and not any_type:
        raise UserError(f"The work pool '{name}' is of type {pool.type}: `prefect deploy` with prefect.yaml serves it.")
    return pool


def portable(path: Path) -> str:
    """The path as workers know it: relative to the project where it lies in it."""
    whole = path.resolve()
    return str(whole.relative_to(ROOT) if whole.is_relative_to(ROOT) else whole)
