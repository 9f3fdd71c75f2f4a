"""Measures how long health checks take while a worker computes something heavy.

python bench/bench_health.py      (part of `make bench`)

One worker, and four clients that send the same heavy request. Kubernetes ends a container whose
probe does not answer within a second three times in a row.
"""

import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import numpy as np
from bench_serving import photo
from runner import table

# isort: split
from gunicorn_server import Server, running_tiny
from inference_requests import binary_inference, json_inference

INFER = "/v2/models/mnist/infer"
JSON = {"Content-Type": "application/json"}
MANY_VALUES = b'{"images": [' + b'"",' * 1_300_000 + b'""]}'
HEAVY = {
    "12-megapixel photo": lambda: ("/predict?segment=1", photo(), {"Content-Type": "image/jpeg"}),
    "JSON of 4 MB": lambda: ("/predict", MANY_VALUES, JSON),
    "inference, 1,300 images in JSON": lambda: (INFER, json_inference(1300), JSON),
    "inference, 10,000 images, answer in JSON": lambda: (INFER, *binary_inference(10_000, False)),
}
CLIENTS, ROUNDS = 4, 3


def health_check(server: Server) -> float:
    """Return the milliseconds that a request for /healthz takes, on a connection of its own."""
    started = time.perf_counter()
    assert server.ask("GET", "/healthz")[0] == 200
    return (time.perf_counter() - started) * 1000


def measure(server: Server, path: str, body: bytes, headers: dict[str, str]) -> list[float]:
    """Return the milliseconds of all health checks during some rounds of heavy requests."""

    def ask(_: int) -> None:
        with closing(server.connect()) as connection:
            connection.request("POST", path, body, headers)
            connection.getresponse().read()

    taken = []
    with ThreadPoolExecutor(CLIENTS) as pool:
        for _ in range(ROUNDS):
            heavy = [pool.submit(ask, client) for client in range(CLIENTS)]
            while not all(each.done() for each in heavy):
                taken.append(health_check(server))
    return taken


def print_health_checks() -> None:
    """Print a table with a row for each kind of heavy request."""
    rows = []
    with tempfile.TemporaryDirectory() as folder, running_tiny(Path(folder)) as server:
        for name, make in HEAVY.items():
            taken = measure(server, *make())
            figures = (np.median(taken), np.percentile(taken, 99), max(taken))
            rows.append([name, str(len(taken)), *(f"{figure:.0f}" for figure in figures)])
    head = ["/healthz during", "checks", "median ms", "p99 ms", "slowest ms"]
    print(table(head, rows) + "\n", flush=True)


if __name__ == "__main__":
    print_health_checks()
