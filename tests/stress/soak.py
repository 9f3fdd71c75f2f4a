"""Replaces the model again and again while clients ask, and checks every response.

python tests/stress/soak.py --replacements 1000 --requests 200000

Prints the outcome counts, and memory, open files and threads of the workers at the start and end.
Exits with 1 after a wrong response.
"""

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import cycle
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "inference"))
from gunicorn_server import Server, running
from tiny_model import model_bytes, multipart, publish, two_lines

CLIENTS = 4
# The second model answers 9 - d where the first one answers d.
FIRST, SECOND = "aaaaaaaaaaaa", "bbbbbbbbbbbb"
DIGITS = (7, 1, 4)


class Usage(NamedTuple):
    """What a worker holds: resident memory in MB, open files, threads."""

    megabytes: float
    files: int
    threads: int


def usage(server: Server) -> list[Usage]:
    """Return the usage of each worker."""
    usages = []
    for pid in server.workers():
        process = Path(f"/proc/{pid}")
        kilobytes = int((process / "status").read_text().partition("VmRSS:")[2].split()[0])
        counts = [len(list((process / name).iterdir())) for name in ("fd", "task")]
        usages.append(Usage(kilobytes * 1024 / 1e6, *counts))
    return usages


def model_files() -> Iterator[bytes]:
    """Yield good and broken model files, in turn and without end."""
    good, other = model_bytes(FIRST), model_bytes(SECOND, reverse=True)
    broken = (
        b"garbage" * 1000,
        good[:-200],
        b"",
        model_bytes(FIRST, shape=["N", 14, 56]),
        model_bytes(FIRST, last="NoSuchOperator"),
        model_bytes(None),
    )
    for bad in cycle(broken):
        yield from (other, bad, good)


def check(status: int, answer: dict) -> str:
    """Return "ok" for a response that one version of the model alone can have given."""
    if status != 200:
        return f"status {status}"
    found = [(each["model_version"], each["prediction"]) for each in answer["predictions"]]
    of_first = [(FIRST, digit) for digit in DIGITS * 4]
    of_second = [(SECOND, 9 - digit) for digit in DIGITS * 4]
    return "ok" if found in (of_first, of_second) else f"mixed: {found}"


def client(server: Server, requests: int) -> Counter:
    """Ask until `requests` are answered; count the outcomes."""
    # More pictures than are classified at once, so that the model may change in between.
    body, content_type = multipart(*map(two_lines, DIGITS * 4))
    outcomes = Counter()
    with closing(server.connect()) as connection:
        for _ in range(requests):
            connection.request("POST", "/predict?details=1", body, {"Content-Type": content_type})
            response = connection.getresponse()
            outcomes[check(response.status, json.loads(response.read()))] += 1
    return outcomes


def replace_under_load(
    server: Server, model: Path, replacements: int, requests: int
) -> tuple[Counter, list[Usage], list[Usage]]:
    """Replace the model while clients ask; return the outcomes, and usage before and after."""
    files = model_files()
    for data, _ in zip(files, range(9), strict=False):  # Each kind of file once.
        publish(model, data)
        client(server, 60)
    before = usage(server)
    with ThreadPoolExecutor(CLIENTS) as pool:
        asking = pool.map(lambda _: client(server, requests // CLIENTS), range(CLIENTS))
        for data, _ in zip(files, range(replacements), strict=False):
            publish(model, data)
            time.sleep(0.02)
        outcomes = sum(asking, Counter())
    return outcomes, before, usage(server)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--replacements", type=int, default=1000)
    parser.add_argument("--requests", type=int, default=200_000)
    arguments = parser.parse_args()
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "model.onnx"
        publish(model, model_bytes(FIRST))
        with running(Path(folder), MODEL_PATH=str(model)) as server:
            outcomes, before, after = replace_under_load(
                server, model, arguments.replacements, arguments.requests
            )
            log = server.read_log()
    print(f"{arguments.replacements} replacements, {time.perf_counter() - started:.0f} s")
    print(f"loads: {log.count('serving model')}, rejections: {log.count('rejected ')}")
    print(f"outcomes: {dict(outcomes)}")
    for first, last in zip(before, after, strict=True):
        print(f"worker before {first}, after {last}")
    sys.exit(set(outcomes) != {"ok"})


if __name__ == "__main__":
    main()
