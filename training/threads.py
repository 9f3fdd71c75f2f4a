"""How many threads compute: as many as the CPUs that affinity and cgroup allow.

Call choose_thread_count() before torch is imported, which reads OMP_NUM_THREADS once.
"""

import math
import os
from pathlib import Path


def cpu_limit(
    root: Path = Path("/sys/fs/cgroup"), membership: Path = Path("/proc/self/cgroup")
) -> float:
    """The CPUs that the process's cgroups (v1 or v2) and their parents allow; may be infinite."""
    limits = [math.inf]
    lines = membership.read_text().splitlines() if membership.exists() else []
    for line in lines:
        _, controllers, name = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        base = root / "cpu" if controllers else root
        folder = base / name.lstrip("/")
        # In a container the name may be the host's, and only the parents that end at `base` exist.
        for each in (folder, *folder.parents):
            if each.is_relative_to(base):
                limits.append(quota(each))
    return min(limits)


def quota(cgroup: Path) -> float:
    """The CPUs that one cgroup allows; infinite without a limit."""
    try:
        if (cgroup / "cpu.max").exists():
            limit, period = (cgroup / "cpu.max").read_text().split()
        else:
            limit = (cgroup / "cpu.cfs_quota_us").read_text()
            period = (cgroup / "cpu.cfs_period_us").read_text()
    except FileNotFoundError:
        return math.inf
    return math.inf if limit.strip() in ("max", "-1") else int(limit) / int(period)


def available_cpus() -> int:
    """The CPUs that the process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def choose_thread_count() -> None:
    """Set OMP_NUM_THREADS, unless it is set: one thread for each CPU that the process may use."""
    count = max(1, math.floor(min(available_cpus(), cpu_limit())))
    os.environ.setdefault("OMP_NUM_THREADS", str(count))
