"""`gtr ui`: both pages answer until Ctrl-C, and nothing is left running."""

import os
import signal
import socket
import urllib.request

import psutil
import pytest

from tasks.execution.ports import free_port
from tests.flows.conftest import Finished, gtr, served_ui

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
def test_both_pages_are_served_until_it_is_told_to_end(kl_run: Finished, sign: signal.Signals) -> None:
    port = free_port()
    with served_ui(kl_run.home, port) as ui:
        assert ui.stdout is not None
        told = [ui.stdout.readline().split() for _ in range(2)]
        assert [words[0] for words in told] == ["MLflow", "Prefect"]
        for _, address in told:
            with urllib.request.urlopen(address, timeout=20) as page:
                assert b"<html" in page.read().lower()
        served = psutil.Process(ui.pid).children(recursive=True)
        os.kill(ui.pid, sign)
        assert ui.wait(timeout=30) == 0
    assert served and not psutil.wait_procs(served, timeout=10)[1]


def test_a_port_in_use_is_said_with_another_to_take(kl_run: Finished) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        refused = gtr(kl_run.home, "ui", "--port", str(port))
    assert refused.returncode == 2 and f"--port {port + 1}" in refused.stderr
