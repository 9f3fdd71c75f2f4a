"""Ports for the processes that tests and benchmarks start: port = free_port()."""

import socket


def free_port() -> int:
    """Return a port of 127.0.0.1 that nothing listens on, for a process that cannot choose one."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]
