"""Measures POST /predict next to a bare Flask route that only receives the same upload.

python bench/bench_serving.py [MODEL]      (part of `make bench`)

All servers run at the same time and are asked in turn, so that other work on the machine affects
them alike. The clients are coroutines of this process with one open connection each: a light load
generator, since it uses the same cores as the servers.
"""

import asyncio
import re
import statistics
import sys
import tempfile
import time
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageFilter
from runner import ROOT, middle, table

# isort: split
from gunicorn_server import Server, running
from tiny_model import encoded, multipart

BENCH, SAMPLES = ROOT / "bench", ROOT / "samples" / "digits"
DRAWING = Image.open(SAMPLES / "7.png").convert("L")
BARE = "bare Flask route"
# gunicorn's arguments.
SERVERS = {BARE: ("--pythonpath", BENCH, "bare_app:app"), "POST /predict": ()}
STARTS = 3
CLIENTS = 8
WARM_UP_SECONDS, ROUND_SECONDS, ROUNDS = 1.0, 3.0, 5
MAX_REQUESTS = 30_000  # In one round.
MEGABYTE = 1_000_000


def photo() -> bytes:
    """Return a photo of 12 megapixels: a digit on shaded paper with noise."""
    width, height = 4000, 3000
    digit = DRAWING.resize((1000, 1000)).filter(ImageFilter.GaussianBlur(3))
    paper = np.full((height, width), 225, np.int16)
    paper[1000:2000, 1500:2500] -= (255 - np.asarray(digit, np.int16)) * 7 // 10
    noise = np.random.default_rng(0).integers(-8, 9, (height, width), dtype=np.int16)
    scene = np.clip(paper * np.linspace(1, 0.6, width) + noise, 0, 255).astype(np.uint8)
    return encoded(Image.fromarray(scene).convert("RGB"), "JPEG", quality=85)


UPLOADS = {
    "28x28 JPEG": encoded(
        Image.open(SAMPLES / "7-mnist-form.png").convert("L"), "JPEG", quality=95
    ),
    "240x240 PNG drawing": encoded(DRAWING.convert("RGB")),
    "12-megapixel photo": photo(),
}


class Round(NamedTuple):
    """What the clients measured in one round; latencies in milliseconds."""

    per_second: float
    p50: float
    p99: float


def run_round(port: int, upload: bytes, seconds: float, clients: int) -> Round:
    """Return what some clients together measure in some seconds."""
    body, content_type = multipart(upload)
    head = f"POST /predict HTTP/1.1\r\nHost: bench\r\nContent-Type: {content_type}\r\n"
    request = f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
    latencies: list[float] = []
    started = time.perf_counter()

    async def ask() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while (sent := time.perf_counter()) < started + seconds and len(latencies) < MAX_REQUESTS:
            writer.write(request)
            response = await reader.readuntil(b"\r\n\r\n")
            length = int(re.search(rb"(?i)content-length: (\d+)", response)[1])
            content = await reader.readexactly(length)
            if not response.startswith(b"HTTP/1.1 200 "):
                sys.exit(f"bench: {response.decode()}{content.decode(errors='replace')}")
            latencies.append(time.perf_counter() - sent)
        writer.close()
        await writer.wait_closed()

    async def ask_all() -> None:
        await asyncio.gather(*(ask() for _ in range(clients)))

    asyncio.run(ask_all())
    elapsed = time.perf_counter() - started
    return Round(len(latencies) / elapsed, *(np.percentile(latencies, [50, 99]) * 1000))


def measure_rounds(ports: dict[str, int], upload: bytes, clients: int) -> dict[str, list[Round]]:
    """Return the rounds of each server, which take turns."""
    rounds: dict[str, list[Round]] = {name: [] for name in ports}
    for port in ports.values():
        run_round(port, upload, WARM_UP_SECONDS, clients)
    for name in list(ports) * ROUNDS:
        rounds[name].append(run_round(ports[name], upload, ROUND_SECONDS, clients))
    return rounds


def rate_table(title: str, rounds: dict[str, list[Round]]) -> str:
    """Return a table with a row for each server, and its rate as a multiple of the bare route's."""
    bare = statistics.median(each.per_second for each in rounds[BARE])
    rows = []
    for name, measured in rounds.items():
        speed, p50, p99 = zip(*measured, strict=True)
        ratio = f"{statistics.median(speed) / bare:.2f}"
        rows.append([name, middle(speed, ".0f"), ratio, middle(p50, ".1f"), middle(p99, ".1f")])
    return table([title, "requests/s", "rate / bare", "p50 ms", "p99 ms"], rows)


def worker_memory(server: Server) -> str:
    """Return PSS and RSS of the largest worker in MB: shared pages divided, and counted in full."""
    rollups = [Path(f"/proc/{pid}/smaps_rollup") for pid in server.workers()]
    if not all(path.exists() for path in rollups):
        return "unknown"
    texts = [path.read_text() for path in rollups]
    sizes = (
        max(int(re.search(rf"^{name}: +(\d+) kB", text, re.MULTILINE)[1]) for text in texts)
        for name in ("Pss", "Rss")
    )
    return " / ".join(f"{size * 1024 / MEGABYTE:.0f}" for size in sizes)


def print_tables(model: Path) -> None:
    """Print a table for each upload, and one of the times to start and the memory."""
    model = model.resolve()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:

        def start(name: str) -> AbstractContextManager[Server]:
            own = Path(tempfile.mkdtemp(dir=folder))
            return running(own, *SERVERS[name], MODEL_PATH=str(model))

        seconds: dict[str, list[float]] = {name: [] for name in SERVERS}
        for name in list(SERVERS) * STARTS:
            with start(name) as server:
                seconds[name].append(server.start_seconds)
        servers = {name: stack.enter_context(start(name)) for name in SERVERS}
        ports = {name: server.port for name, server in servers.items()}
        for what, upload in UPLOADS.items():
            # One client shows how long a photo takes; several would show a queue of photos.
            clients = 1 if what == "12-megapixel photo" else CLIENTS
            title = f"{what}, {clients} client{'s' * (clients > 1)}"
            print(rate_table(title, measure_rounds(ports, upload, clients)) + "\n", flush=True)
        rows = [
            [name, middle(seconds[name], ".2f"), worker_memory(server)]
            for name, server in servers.items()
        ]
        print(table(["server", "s until it answers", "MB per worker, PSS / RSS"], rows) + "\n")


if __name__ == "__main__":
    print_tables(Path(sys.argv[1] if len(sys.argv) > 1 else "artifacts/model.onnx"))
