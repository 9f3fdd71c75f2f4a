"""Keeps training fast next to other busy processes.

A thread of GNU OpenMP that waits for the others spins for milliseconds, which is fastest on an idle
machine. Next to busy processes it takes away the time that the other threads need, and training
becomes several times slower. libgomp has no call to change this, but it spins only briefly while
there are more OpenMP threads than CPUs (gomp_throttled_spin_count_var in its env.c). So another
team of threads, which does nothing, is kept while the CPUs are crowded. The number of threads that
compute stays the same, and so do the results.
"""

import threading
import time
from pathlib import Path

import torch
from threads import available_cpus

CHECK_SECONDS = 0.5
# The share of time that the main thread waits for a CPU: 0.66 to 0.79 next to two busy loops on two
# CPUs, 0.39 to 0.46 there when the other threads sleep instead of spinning.
CROWDED_SHARE = 0.2


def seconds_without_cpu() -> float:
    """How long the main thread has waited for a CPU so far; 0 where Linux does not count it."""
    try:
        return int(Path("/proc/self/schedstat").read_text().split()[1]) / 1e9
    except FileNotFoundError:
        return 0.0


class Neighbours:
    """Lets waiting OpenMP threads sleep while other processes need the CPUs; call check() often."""

    def __init__(self) -> None:
        self.checked, self.waited = time.monotonic(), seconds_without_cpu()
        self.finished = threading.Event()  # ends the team that does nothing
        self.team: threading.Thread | None = None

    def check(self) -> None:
        """Start or end that team, according to the time since the last check."""
        elapsed = time.monotonic() - self.checked
        if elapsed < CHECK_SECONDS:
            return
        waited = seconds_without_cpu()
        crowded = (waited - self.waited) / elapsed > CROWDED_SHARE
        self.checked, self.waited = time.monotonic(), waited
        if crowded and not self.team and torch.get_num_threads() > 1:
            self.finished.clear()
            self.team = threading.Thread(target=hold_team, args=(self.finished,), daemon=True)
            self.team.start()
        elif not crowded:
            self.close()

    def close(self) -> None:
        """End the team that does nothing, if there is one.

        A thread that is still in torch when the interpreter exits would abort the process.
        """
        self.finished.set()
        if self.team:
            self.team.join()
            self.team = None


def hold_team(finished: threading.Event) -> None:
    """Keep so many idle OpenMP threads that, with those that compute, they outnumber the CPUs."""
    size = max(2, available_cpus() - torch.get_num_threads() + 2)
    torch.set_num_threads(size)  # of this thread only
    torch.zeros(size << 15).add_(1)  # 32,768 elements for each thread, or torch uses fewer
    finished.wait()
