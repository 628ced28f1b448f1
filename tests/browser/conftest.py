"""Headless Chromium on a finished sweep of two small runs; everything skips, and says why, where there is none."""

import os
import shutil
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tasks.execution.ports import free_port
from tests.flows.conftest import SMALL, config, gtr, last_line, served_ui

if TYPE_CHECKING:
    from playwright.sync_api import Browser

FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync")
QUIET = ("--disable-background-networking", "--disable-component-update")
SLOW_MS = 90_000  # a busy machine draws MLflow's pages in half a minute


@dataclass(frozen=True)
class Workspace:
    """A finished sweep, what it printed as JSON, and the address of its MLflow pages."""

    home: Path
    sweep: dict[str, Any]
    mlflow: str


@pytest.fixture(scope="package")
def browser() -> "Iterator[Browser]":
    """The system's Chromium."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="no browser tests: playwright is not installed")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no browser tests: there is no chromium on this machine (Debian: apt-get install chromium)")
    with sync_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium, args=[*FLAGS, *QUIET])
        yield started
        started.close()


@pytest.fixture(scope="package")
def workspace(browser: "Browser", tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    """SFT and KL, two iterations each, and `gtr ui` for as long as the tests last."""
    folder = tmp_path_factory.mktemp("browser")
    home, file = folder / "home", folder / "guides.yaml"
    settings = ", ".join(setting.replace("=", ": ") for setting in SMALL)
    file.write_text(f"base: {config('kl')}\nset: {{{settings}}}\naxes: {{method: [turbo_sft, turbo_kl]}}")
    done = last_line(gtr(home, "sweep", str(file), "--json", timeout=1500))
    port = free_port()
    with served_ui(home, port) as ui:
        assert ui.stdout is not None
        address = ui.stdout.readline()
        assert address.startswith("MLflow"), address
        yield Workspace(home, done, f"http://127.0.0.1:{port}")
        os.kill(ui.pid, signal.SIGINT)
        ui.wait(timeout=60)
