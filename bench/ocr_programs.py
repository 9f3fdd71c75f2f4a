"""The server beside OCR programs, on pictures of each set of gallery/sets.py: a Markdown table.

    python bench/ocr_programs.py artifacts/model.onnx

Needs ocr-requirements.txt, whose packages contain their models, and Debian's tesseract-ocr. Each
program is called as its documentation says for one character, of digits only where it has a way to
say so. The first digit of its text is its answer. "Sure" is a confidence over 90 %. CPU time is
that of all threads and children per picture.
"""

import argparse
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import numpy as np
from bench_reading import HEADS, Reading, create_app, print_row, read
from runner import table

# isort: split
from gallery.sets import DIGIT_SETS, HALVES, pictures
from gallery.sources import MissingSource

DIGITS = "0123456789"
Answer = tuple[str, float]  # the text and its confidence, 0 to 1


def rapidocr() -> Callable[[bytes], Answer]:
    from rapidocr import RapidOCR

    threads = "EngineConfig.onnxruntime.intra_op_num_threads"  # Waiting threads take CPU time.
    engine = RapidOCR(params={"Global.log_level": "error", threads: 1})

    def recognize(upload: bytes) -> Answer:
        # Without looking for lines of text first, which finds few single digits.
        result = engine(upload, use_det=False, use_cls=False, use_rec=True)
        return "".join(result.txts or ()), min(result.scores or (0,))

    return recognize


def ddddocr() -> Callable[[bytes], Answer]:
    from ddddocr import DdddOcr

    engine = DdddOcr(show_ad=False)

    def recognize(upload: bytes) -> Answer:
        result = engine.classification(upload, probability=True)
        columns = [result["charset"].index(digit) for digit in DIGITS]
        sure = np.reshape(result["probabilities"], (-1, len(result["charset"])))[:, columns].max(0)
        return DIGITS[sure.argmax()], float(sure.max())

    return recognize


def digit_recognizer() -> Callable[[bytes], Answer]:
    from digit_recognizer import DigitRecognizer

    engine = DigitRecognizer()

    def recognize(upload: bytes) -> Answer:
        result = engine.predict(upload, detailed=True)
        return str(result.digit), result.confidence

    return recognize


def tesseract() -> Callable[[bytes], Answer]:
    command = f"tesseract - - --psm 10 -c tessedit_char_whitelist={DIGITS} tsv".split()

    def recognize(upload: bytes) -> Answer:
        output = subprocess.run(command, input=upload, capture_output=True).stdout
        words = [line.split("\t") for line in output.decode().splitlines()[1:]]
        found = [(word[11], float(word[10]) / 100) for word in words if word[10] != "-1"]
        return "".join(text for text, _ in found), min((sure for _, sure in found), default=0)

    return recognize


PROGRAMS = (rapidocr, ddddocr, digit_recognizer, tesseract)


def answers(
    recognize: Callable[[bytes], Answer], uploads: list[tuple[bytes, int]]
) -> Iterator[Reading]:
    for upload, label in uploads:
        started = sum(os.times()[:4])
        text, confidence = recognize(upload)
        milliseconds = (sum(os.times()[:4]) - started) * 1000
        digit = next((int(letter) for letter in text if letter in DIGITS), None)
        yield Reading(upload, label, digit, confidence if text else 0, milliseconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--half", choices=HALVES, default="report")
    parser.add_argument("--count", type=int, default=10, help="pictures of each set")
    options = parser.parse_args()
    uploads = []
    for name in DIGIT_SETS:
        try:
            uploads += islice(pictures(name, options.half), options.count)
        except MissingSource as error:
            print(f"ocr_programs: {name} is left out: {error}", file=sys.stderr)
    print(table(("program", *HEADS[1:]), []), flush=True)
    client = create_app(options.model).test_client()
    print_row("this server", list(read(client, uploads)))
    for program in PROGRAMS:
        print_row(program.__name__, list(answers(program(), uploads)))


if __name__ == "__main__":
    main()
