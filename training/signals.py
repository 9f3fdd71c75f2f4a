"""SIGTERM and SIGINT: end immediately, or finish the current step first."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

ENDING_SIGNALS = (signal.SIGTERM, signal.SIGINT)
PATIENCE_SECONDS = 10  # less than the 30 that Kubernetes waits before it sends SIGKILL


def end_at_once() -> None:
    """From now on, SIGTERM and SIGINT end the process with 128 + N, also if it is PID 1.

    The kernel drops these signals for PID 1 as long as there is no handler.
    """
    for number in ENDING_SIGNALS:
        signal.signal(number, lambda number, _frame: os._exit(128 + number))
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer)
    threading.Thread(target=end_if_stuck, args=(reader,), daemon=True).start()


def end_if_stuck(reader: int) -> None:
    """End the process PATIENCE_SECONDS after a signal if it is still running then.

    Python writes the number of the signal to the pipe that `reader` belongs to. It runs handlers
    only between its own instructions, but a rank that waits for another one is inside a single
    call, possibly for minutes.
    """
    number = os.read(reader, 1)[0]
    time.sleep(PATIENCE_SECONDS)
    os._exit(128 + number)


@contextmanager
def noted() -> Iterator[list[int]]:
    """Inside the block, SIGTERM and SIGINT only extend the list, so that a step can be finished."""
    received: list[int] = []
    previous = {number: signal.getsignal(number) for number in ENDING_SIGNALS}
    for number in ENDING_SIGNALS:
        signal.signal(number, lambda number, _frame: received.append(number))
    try:
        yield received
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
