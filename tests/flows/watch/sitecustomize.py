"""On the path of a process under test: notes every address off this machine that it looks up or connects to."""

import os
import sys
from typing import Any

LOOPBACK = ("127.", "::1", "localhost", "0.0.0.0", "::")


def _note(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "socket.getaddrinfo":
        host = arguments[0]
    elif event == "socket.connect" and isinstance(arguments[1], tuple):
        host = arguments[1][0]
    else:
        return
    name = host.decode() if isinstance(host, bytes) else host
    if name and not name.startswith(LOOPBACK):
        with open(os.environ["NETWORK_LOG"], "a") as file:
            file.write(f"{event} {name} by {' '.join(sys.orig_argv)}\n")


if "NETWORK_LOG" in os.environ:
    sys.addaudithook(_note)
