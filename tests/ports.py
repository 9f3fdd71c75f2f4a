"""Ports for the processes that tests and benchmarks start: port = free_port()."""

import socket


def free_port() -> int:
    """Return a port of 127.0.0.1 for a process that cannot choose one.

    This process stays bound to it, so that no other one gets it from the system. A server can
    listen on it all the same, because both set SO_REUSEADDR and this process does not listen.
    """
    kept = socket.socket()
    kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    kept.bind(("127.0.0.1", 0))
    port = kept.getsockname()[1]
    kept.detach()  # Open until the process ends.
    return port
