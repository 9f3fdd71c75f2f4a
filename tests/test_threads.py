"""The number of threads, and training next to busy neighbours."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import neighbours
import pytest
import threads
from bench_neighbours import busy_loops
from conftest import ROOT

# Prints the share of a CPU that a process uses while its main thread mostly sleeps between steps.
WAITING = """
import sys, threading, time
import neighbours, torch
numbers = torch.zeros(1 << 17)
if sys.argv[1] == "team":
    threading.Thread(target=neighbours.hold_team, args=(threading.Event(),), daemon=True).start()
    time.sleep(0.3)
for step in range(110):
    if step == 10:
        cpu, begun = time.process_time(), time.monotonic()
    numbers.add_(1)
    time.sleep(0.002)
print((time.process_time() - cpu) / (time.monotonic() - begun))
"""

# Runs until Neighbours starts the team because the CPU is crowded, and then exits at once.
WATCH = """
from contextlib import closing
from neighbours import Neighbours
with closing(Neighbours()) as neighbours:
    while not neighbours.team:
        neighbours.check()
"""


def start_python(script, *arguments):
    environment = os.environ | {"PYTHONPATH": str(ROOT / "training"), "OMP_NUM_THREADS": "2"}
    command = [sys.executable, "-c", script, *arguments]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)


@pytest.mark.skipif(threads.available_cpus() < 2, reason="OpenMP does not spin on a single CPU")
def test_threads_that_wait_do_not_spin_while_the_team_of_idle_threads_exists():
    spinning, sleeping = (
        float(start_python(WAITING, mode).communicate()[0]) for mode in ("no team", "team")
    )
    # On two idle CPUs, the shares are 1.0 and 0.04.
    assert sleeping < spinning / 3


@pytest.mark.skipif(
    not Path("/proc/self/schedstat").exists(), reason="this system does not count waiting for a CPU"
)
def test_the_team_of_idle_threads_is_started_when_other_processes_need_the_cpu():
    cpu = {min(os.sched_getaffinity(0))}
    with busy_loops(2) as loops, start_python(WATCH) as training:
        for process in (training, *loops):
            os.sched_setaffinity(process.pid, cpu)
        try:
            assert training.wait(timeout=60) == 0
        finally:
            training.kill()


def test_the_team_of_idle_threads_ends_when_the_cpu_is_free_again(monkeypatch):
    watch = neighbours.Neighbours()
    monkeypatch.setattr(neighbours, "seconds_without_cpu", lambda: watch.waited)
    watch.team = team = threading.Thread(target=neighbours.hold_team, args=(watch.finished,))
    team.start()
    watch.check()
    assert watch.team is team, "checked again too early"
    watch.checked -= neighbours.CHECK_SECONDS
    watch.check()
    assert not team.is_alive()
    assert watch.team is None


@pytest.mark.parametrize(
    ("membership", "files", "limit"),
    [
        ("0::/", {"cpu.max": "150000 100000"}, 1.5),
        ("0::/", {"cpu.max": "max 100000"}, float("inf")),
        ("0::/a/b", {"a/cpu.max": "200000 100000", "a/b/cpu.max": "max 100000"}, 2),
        (
            "1:cpu,cpuacct:/pod",
            {"cpu/pod/cpu.cfs_quota_us": "50000", "cpu/pod/cpu.cfs_period_us": "100000"},
            0.5,
        ),
        (
            "1:cpu:/name/on/the/host",
            {"cpu/cpu.cfs_quota_us": "300000", "cpu/cpu.cfs_period_us": "100000"},
            3,
        ),
        ("1:cpu:/", {"cpu/cpu.cfs_quota_us": "-1"}, float("inf")),
        ("3:memory:/\n0::/", {}, float("inf")),
    ],
    ids=["v2", "v2 max", "v2 parent", "v1", "v1 in a container", "v1 unlimited", "no limit"],
)
def test_the_cpu_limit_of_the_cgroup_is_found(membership, files, limit, tmp_path):
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text + "\n")
    if "cpu/cpu.cfs_quota_us" in files:
        (tmp_path / "cpu/cpu.cfs_period_us").write_text("100000\n")
    (tmp_path / "membership").write_text(membership + "\n")
    assert threads.cpu_limit(tmp_path, tmp_path / "membership") == limit


@pytest.mark.parametrize(
    ("limit", "count"), [(1.5, "1"), (0.5, "1"), (4.0, "4"), (float("inf"), "8")]
)
def test_there_is_a_thread_for_each_whole_cpu(limit, count, monkeypatch):
    monkeypatch.setattr(threads, "cpu_limit", lambda: limit)
    monkeypatch.setattr(threads, "available_cpus", lambda: 8)
    monkeypatch.setenv("OMP_NUM_THREADS", "")  # so that it is restored
    monkeypatch.delenv("OMP_NUM_THREADS")
    threads.choose_thread_count()
    assert os.environ["OMP_NUM_THREADS"] == count
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    threads.choose_thread_count()
    assert os.environ["OMP_NUM_THREADS"] == "3", "a setting of the user wins"
