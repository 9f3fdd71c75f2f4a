"""How pictures of other origin are read: a Markdown table of the sets of gallery/sets.py.

    python bench/bench_reading.py artifacts/model.onnx --half decide
    python bench/bench_reading.py MODEL --half report --set "print, cut out" --pictures /tmp/wrong

The pictures go through POST /predict?details=1 of the app. "Sure" is a confidence over 90 %. CPU
time is that of the whole process per picture, without drawing it. sources.py says where the fonts,
the handwriting and MNIST come from; a set whose source is missing is left out with a message.
"""

import argparse
import sys
import time
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from runner import table

# isort: split
from app import create_app
from gallery.sets import DIGIT_SETS, EMPTY_SETS, HALVES, NAMES, pictures, touching_pairs
from gallery.sources import MissingSource
from tiny_model import multipart

SURE = 0.9
BATCH = 8  # a request holds at most 4 MiB
HEADS = ("set", "pictures", "right", "refused", "sure", "sure and wrong", "CPU ms")


class Reading(NamedTuple):
    """An upload, the digit on it, what was answered, None for a refusal, and how surely."""

    upload: bytes
    label: int | None
    prediction: int | None
    confidence: float
    milliseconds: float  # of CPU time


def read(client, uploads: Iterable[tuple[bytes, int | None]]) -> Iterator[Reading]:
    """Send (upload, label) pairs, several in each request."""
    uploads = iter(uploads)
    while batch := list(islice(uploads, BATCH)):
        # A picture that is alone in a request would be answered in another form.
        files = [upload for upload, _ in batch] + [batch[0][0]] * (len(batch) == 1)
        body, content_type = multipart(*files)
        started = time.process_time()
        response = client.post("/predict?details=1", data=body, content_type=content_type)
        milliseconds = (time.process_time() - started) * 1000 / len(files)
        if response.status_code != 200:
            sys.exit(f"bench_reading: the server answered {response.status}: {response.text}")
        for (upload, label), answer in zip(batch, response.json["predictions"], strict=False):
            prediction, confidence = answer.get("prediction"), answer.get("confidence", 0)
            yield Reading(upload, label, prediction, confidence, milliseconds)


def print_row(name: str, readings: list[Reading]) -> None:
    """The row of a set; on pictures without a digit, every answer that is sure is wrong."""
    labelled = readings[0].label is not None
    right = sum(each.prediction == each.label for each in readings)
    sure = [each for each in readings if each.confidence > SURE]
    wrong = sum(each.prediction != each.label for each in sure)
    cells = (
        name,
        str(len(readings)),
        f"{right / len(readings):.1%}" if labelled else "-",
        str(sum(each.prediction is None for each in readings)),
        f"{len(sure) / len(readings):.1%}",
        f"{wrong} ({wrong / max(1, len(sure)):.1%})" if labelled else "-",
        f"{sum(each.milliseconds for each in readings) / len(readings):.1f}",
    )
    print("| " + " | ".join(cells) + " |", flush=True)


def print_pairs(client, half: str) -> None:
    """How many pairs of touching digits are cut in two digits that are both read correctly."""
    right = count = 0
    for upload, labels in touching_pairs(half):
        body, content_type = multipart(upload)
        response = client.post("/predict?segment=1", data=body, content_type=content_type)
        found = response.json.get("digits", [])  # None if the picture is refused.
        right += [each["prediction"] for each in found] == labels
        count += 1
    print(f"\ntouching pairs split and read correctly: {right} of {count}")


def save_failures(readings: list[Reading], folder: Path) -> None:
    """Write what was read wrongly, or surely without a digit: LABEL-ANSWER-CONFIDENCE-INDEX."""
    folder.mkdir(parents=True, exist_ok=True)
    for index, each in enumerate(readings):
        failed = each.confidence > SURE if each.label is None else each.prediction != each.label
        if failed:
            label = "none" if each.label is None else each.label
            answer = "refused" if each.prediction is None else each.prediction
            kind = {b"\x89PNG": "png", b"GIF8": "gif"}.get(each.upload[:4], "jpg")
            name = f"{label}-{answer}-{each.confidence:.2f}-{index}.{kind}"
            (folder / name).write_bytes(each.upload)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--half", choices=HALVES, default="decide")
    parser.add_argument("--set", nargs="*", choices=NAMES, default=NAMES, metavar="NAME")
    parser.add_argument("--pictures", type=Path, help="a folder for the failures of each set")
    options = parser.parse_args()
    if not options.model.exists():
        parser.error(f"there is no model at {options.model}: train one first")
    client = create_app(options.model).test_client()
    print(table(HEADS, []), flush=True)
    groups: dict[str, list[Reading]] = {"digits": [], "empty pages": []}
    for name in options.set:
        try:
            readings = list(read(client, pictures(name, options.half)))
        except MissingSource as error:
            print(f"bench_reading: {name} is left out: {error}", file=sys.stderr)
            continue
        print_row(name, readings)
        if options.pictures:
            save_failures(readings, options.pictures / name.replace(": ", ", "))
        if name in DIGIT_SETS:
            groups["digits"] += readings
        elif name in EMPTY_SETS:
            groups["empty pages"] += readings
    for name, readings in groups.items():
        if readings:
            print_row(f"all {name}", readings)
    if options.set == NAMES:
        print_pairs(client, options.half)


if __name__ == "__main__":
    main()
