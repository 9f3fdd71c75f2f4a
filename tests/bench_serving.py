"""Measures POST /predict beside a bare Flask route that only receives the same upload.

Used by bench.py:  print(serving_table(model))

Both are run by gunicorn with the server's own settings, at the same time, and are asked in turn,
so that what else the machine does falls on both. The clients are threads of this process that keep
their connections: they take their share of the same cores, from both alike.
"""

import http.client
import re
import statistics
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, closing
from pathlib import Path
from typing import NamedTuple

import numpy as np
from gunicorn_server import Server, running
from PIL import Image
from tables import middle, table
from tiny_model import encoded, multipart

ROOT = Path(__file__).resolve().parent.parent
SAMPLE = ROOT / "samples" / "digits" / "7-mnist-form.png"
APPS = {
    "bare route": ("--pythonpath", ROOT / "tests", "bare_app:app"),
    "POST /predict": (),  # what the settings name
}
STARTS = 3
CLIENTS = 8
WARM_UP_SECONDS, ROUND_SECONDS, ROUNDS = 1.0, 3.0, 5
MAX_REQUESTS = 5_000  # of one client in one round
MEGABYTE = 1_000_000


class Round(NamedTuple):
    """What the clients saw in one round; the latencies in milliseconds."""

    per_second: float
    p50: float
    p99: float


def upload() -> tuple[bytes, dict[str, str]]:
    """Body and headers of the one request that is made: a 28x28 JPEG in a form."""
    body, content_type = multipart(encoded(Image.open(SAMPLE).convert("L"), "JPEG", quality=95))
    return body, {"Content-Type": content_type}


def ask(connection: http.client.HTTPConnection, body: bytes, headers: dict[str, str]) -> None:
    """One request, whose answer must be 200."""
    connection.request("POST", "/predict", body, headers)
    answer = connection.getresponse()
    content = answer.read()
    if answer.status != 200:
        sys.exit(f"bench: /predict answered {answer.status}: {content.decode(errors='replace')}")


def client(port: int, deadline: float) -> list[float]:
    """The seconds that each request took, one after the other on one connection."""
    body, headers = upload()
    seconds: list[float] = []
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
        while (started := time.perf_counter()) < deadline and len(seconds) < MAX_REQUESTS:
            ask(connection, body, headers)
            seconds.append(time.perf_counter() - started)
    return seconds


def one_round(port: int, seconds: float) -> Round:
    """What all clients together see for some seconds."""
    started = time.perf_counter()
    with ThreadPoolExecutor(CLIENTS) as pool:
        clients = [pool.submit(client, port, started + seconds) for _ in range(CLIENTS)]
        latencies = np.concatenate([each.result() for each in clients])
    elapsed = time.perf_counter() - started
    return Round(len(latencies) / elapsed, *(np.percentile(latencies, [50, 99]) * 1000))


def worker_memory(server: Server) -> str:
    """PSS and RSS of the largest worker in MB: what it takes with shared pages divided, and all."""
    rollups = [Path(f"/proc/{pid}/smaps_rollup") for pid in server.workers()]
    if not all(path.exists() for path in rollups):
        return "not known here, no /proc/PID/smaps_rollup"
    texts = [path.read_text() for path in rollups]
    sizes = (
        max(int(re.search(rf"^{name}: +(\d+) kB", text, re.MULTILINE)[1]) for text in texts)
        for name in ("Pss", "Rss")
    )
    return " / ".join(f"{size * 1024 / MEGABYTE:.0f}" for size in sizes)


def serving_table(model: Path) -> str:
    """The table, after about half a minute of work; exits when a server does not answer with 200.

    Each figure is the median over the rounds or the starts, with the least and the most.
    """
    start_seconds: dict[str, list[float]] = {name: [] for name in APPS}
    rounds: dict[str, list[Round]] = {name: [] for name in APPS}
    with tempfile.TemporaryDirectory() as folder:

        def start(name: str) -> AbstractContextManager[Server]:
            own = Path(tempfile.mkdtemp(dir=folder))
            return running(own, *APPS[name], MODEL_PATH=str(model.resolve()))

        for name in list(APPS) * (STARTS - 1):
            with start(name) as server:
                start_seconds[name].append(server.start_seconds)
        with ExitStack() as stack:
            servers = {name: stack.enter_context(start(name)) for name in APPS}
            for name, server in servers.items():
                start_seconds[name].append(server.start_seconds)
                one_round(server.port, WARM_UP_SECONDS)
            for name in list(APPS) * ROUNDS:
                rounds[name].append(one_round(servers[name].port, ROUND_SECONDS))
            memory = {name: worker_memory(server) for name, server in servers.items()}
    return as_table(rounds, start_seconds, memory)


def as_table(
    rounds: dict[str, list[Round]], start_seconds: dict[str, list[float]], memory: dict[str, str]
) -> str:
    """One row for each of APPS, and one for the second's medians as multiples of the first's."""
    rows, medians = [], []
    for name in APPS:
        columns = list(zip(*rounds[name], strict=True))
        medians.append([statistics.median(column) for column in columns])
        speed, p50, p99 = columns
        cells = [middle(speed, ".0f"), middle(p50, ".1f"), middle(p99, ".1f")]
        rows.append([name, *cells, middle(start_seconds[name], ".2f"), memory[name]])
    ratios = [f"{b / a:.2f}" for a, b in zip(*medians, strict=True)]
    heads = ["requests/s", "p50 ms", "p99 ms", "s to start", "MB per worker, PSS / RSS"]
    title = f"serving a 28x28 JPEG, {CLIENTS} clients, {ROUNDS} rounds of {ROUND_SECONDS:.0f} s"
    return table([title, *heads], [*rows, ["ratio of medians", *ratios, "", ""]])
