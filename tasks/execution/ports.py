"""Ports of this machine."""

import socket


def free_port() -> int:
    """A port of loopback that nobody listens on; another process may take it before the caller does."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
