"""Sends damaged pictures of every format, with every option, to the application in process.

python tests/stress/fuzz.py --count 100000

Prints how often each status was answered, the slowest request and the peak memory of the process.
Exits with 1 after a server error, and leaves the picture that caused it in fuzz-failure.bin.
"""

import argparse
import logging
import os
import random
import resource
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("inference", "tests/inference", "tests/inference/vision")
sys.path[:0] = [str(ROOT / folder) for folder in FOLDERS]
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
import numpy as np  # noqa: E402
from app import create_app  # noqa: E402
from broken_metadata import BROKEN, broken_metadata  # noqa: E402
from PIL import Image  # noqa: E402
from tiny_model import encoded, multipart, two_lines, write_model  # noqa: E402

MODES = {
    "JPEG": ("L", "RGB", "CMYK"),
    "MPO": ("RGB",),
    "PNG": ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"),
    "BMP": ("1", "L", "P", "RGB", "RGBA"),
    "GIF": ("L", "P", "RGB"),
    "WEBP": ("L", "RGB", "RGBA"),
    "TIFF": ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "LAB", "I;16", "I", "F"),
}
SAVING = {
    "JPEG": ({}, {"progressive": True}),
    "PNG": ({}, {"optimize": True}),
    "GIF": ({}, {"save_all": True, "append_images": [Image.new("L", (40, 30))]}),
    "WEBP": ({}, {"lossless": True}),
    "TIFF": tuple({"compression": name} for name in (None, "tiff_deflate", "tiff_lzw", "packbits")),
}
NUMBERS = (b"\0\0", b"\xff\xff", b"\x7f\xff", b"\x80\0", b"\0\1", b"\xff\xff\xff\xff", b"\0\0\0\0")
OPTIONS = ("details", "image", "segment")


def seeds() -> list[bytes]:
    """Return small valid pictures in every format and mode."""
    generator = np.random.default_rng(0)
    pages = []
    for height, width in ((28, 28), (60, 100), (100, 90)):
        page = np.full((height, width), 255, np.uint8)
        for _ in range(int(generator.integers(1, 4))):
            top, left = generator.integers(2, height - 10), generator.integers(2, width - 10)
            page[top : top + generator.integers(2, 20), left : left + generator.integers(2, 8)] = 0
        pages.append(Image.fromarray(page))
    files = [two_lines(3)]
    for kind, modes in MODES.items():
        for mode in modes:
            for page in pages:
                picture = Image.merge("LAB", [page] * 3) if mode == "LAB" else page.convert(mode)
                files += [encoded(picture, kind, **extra) for extra in SAVING.get(kind, ({},))]
    drawing = pages[0].resize((64, 80))
    for kind in BROKEN:
        picture = encoded(drawing, kind, lossless=True)
        files += [file for file in broken_metadata(kind, picture).values() if len(file) < 10_000]
    return files


def mutate(data: bytes, choice: random.Random) -> bytes:
    """Return a copy with a few damaged places: bytes, numbers, cuts, repetitions."""
    damaged = bytearray(data)
    for _ in range(choice.randint(1, 6)):
        # Headers are at the start, and matter most.
        end = len(damaged) if choice.random() < 0.5 else min(len(damaged), 80)
        at = choice.randrange(max(end, 1))
        kind = choice.randrange(5)
        if kind == 0:
            damaged[at : at + 1] = bytes([choice.randrange(256)])
        elif kind == 1:
            number = choice.choice(NUMBERS)
            damaged[at : at + len(number)] = number
        elif kind == 2:
            del damaged[at : at + choice.randint(1, 30)]
        elif kind == 3:
            damaged[at:at] = damaged[at : at + choice.randint(1, 60)]
        elif choice.random() < 0.2:
            del damaged[at:]
    return bytes(damaged)


def requests(count: int) -> Iterator[tuple[str, bytes, str]]:
    """Yield path, body and content type of `count` requests, the same ones each time."""
    choice, files = random.Random(0), seeds()
    for index in range(count):
        names = [name for bit, name in enumerate(OPTIONS) if index >> bit & 1]
        query = "&".join(f"{name}=1" for name in names)
        data = mutate(choice.choice(files), choice)
        if choice.random() < 0.9:
            yield f"/predict?{query}", data, "image/png"
        else:
            body, content_type = multipart(data, choice.choice(files))
            yield f"/predict?{query}", mutate(body, choice), content_type


def fuzz(model: Path, count: int) -> tuple[Counter, float, list[bytes]]:
    """Send `count` requests; return the statuses, the slowest one's seconds and what failed."""
    logging.disable(logging.CRITICAL)
    client, statuses, slowest, failures = create_app(model).test_client(), Counter(), 0.0, []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's, about damage.
        for path, body, content_type in requests(count):
            started = time.perf_counter()
            status = client.post(path, data=body, content_type=content_type).status_code
            slowest = max(slowest, time.perf_counter() - started)
            statuses[status] += 1
            if status >= 500:
                failures.append(body)
    logging.disable(logging.NOTSET)
    return statuses, slowest, failures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--count", type=int, default=100_000)
    count = parser.parse_args().count
    with tempfile.TemporaryDirectory() as folder:
        model = write_model(Path(folder) / "model.onnx", "aaaaaaaaaaaa")
        statuses, slowest, failures = fuzz(model, count)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
    print(f"{count} requests: {dict(statuses)}")
    print(f"slowest request {slowest * 1000:.0f} ms, peak memory {peak:.0f} MB")
    if failures:
        Path("fuzz-failure.bin").write_bytes(failures[0])
        sys.exit(f"{len(failures)} server errors; the first body is in fuzz-failure.bin")


if __name__ == "__main__":
    main()
