"""Makes docs/img/readings.png: pictures that were sent, what the model saw, and the answers.

    python scripts/readings.py artifacts/model.onnx      (from the root of the repository)

The digits are set in Debian's fonts (the packages are in tests/gallery/font_files.py), so the page
may be published. It has the first picture of each kind, and then, of COUNT pictures of each, the
wrong answers with the highest confidence, at most OF_ONE_KIND of each. Without a digit, every sure
answer is wrong. The pictures are of the half on which decisions were made.
"""

import base64
import io
import os
import sys
import zlib
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / folder) for folder in ("inference", "training", "tests")]
os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # onnxruntime would send telemetry.

from app import create_app
from flask.testing import FlaskClient
from gallery import scenes_found, scenes_plain, scenes_things, sources
from gallery.scenes_empty import EMPTY, LETTERS
from PIL import Image, ImageDraw, ImageFont
from vision.reading import SURE

OUTPUT = ROOT / "docs" / "img" / "readings.png"
HALF = "decide"
COUNT = 60
FAILURES, OF_ONE_KIND = 14, 3
COLUMNS, WIDTH, HEIGHT, SIDE = 7, 152, 120, 84


class Answer(NamedTuple):
    """A kind of picture, an upload, the digit on it if any, and the answer's JSON."""

    kind: str
    upload: bytes
    label: str | None
    json: dict

    def wrong(self) -> bool:
        """Whether the answer is another digit, or a sure one where there is none."""
        sure = confidence(self) > SURE
        return sure if self.label is None else str(self.json.get("prediction")) != self.label


def kinds() -> Iterator[tuple[str, Iterator[tuple[bytes, str | None]]]]:
    """Yield the name of each kind of picture and its uploads, with the digits on them."""
    scenes = scenes_plain.SCENES | scenes_found.SCENES | scenes_things.SCENES
    del scenes["as it is"]  # The same as "plain" here, in one size.
    both = [*sources.printed(HALF), *sources.handwritten(HALF)]
    for name in scenes:
        yield name, digits(name, sources.segments(HALF) if name == "seven segments" else both)
    letters = sources.printed(HALF, LETTERS)
    yield "a letter", ((upload, None) for upload, _ in digits("plain", letters))
    for name in ("narrow shadow", "hard shadow", "squared", "crumpled", "JPEG blocks"):
        rng = np.random.default_rng(zlib.crc32(name.encode()))
        yield f"empty: {name}", ((EMPTY[name](rng), None) for _ in range(COUNT))


def digits(name: str, glyphs: list) -> Iterator[tuple[bytes, str]]:
    """Yield pictures of a kind, each with another glyph, and the glyphs' names."""
    scene = (scenes_plain.SCENES | scenes_found.SCENES | scenes_things.SCENES)[name]
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    for glyph in islice(sources.endless(glyphs, rng), COUNT):
        if upload := scene(glyph, rng):
            yield upload, glyph.character


def ask(client: FlaskClient, upload: bytes) -> dict:
    """Return the answer's JSON, which is an error if the upload was refused."""
    url = "/predict?details=1&image=1"
    response = client.post(url, data=upload, content_type="application/octet-stream")
    if response.status_code not in (200, 422):
        sys.exit(f"readings: the server answered {response.status}: {response.text}")
    return response.json


def confidence(answer: Answer) -> float:
    """Return the confidence of an answer, 0 for a refusal."""
    return answer.json.get("confidence", 0)


def cell(answer: Answer) -> Image.Image:
    """Draw an upload, the 28x28 picture beside it, and the kind and the answer below."""
    page = Image.new("RGB", (WIDTH, HEIGHT), "white")
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(11)
    sent = Image.open(io.BytesIO(answer.upload)).convert("RGB")
    scale = SIDE / max(sent.size)
    how = Image.Resampling.BOX if scale < 1 else Image.Resampling.NEAREST
    size = [max(1, round(side * scale)) for side in sent.size]
    page.paste(sent.resize(size, how), (2, 2))
    if "image" in answer.json:
        seen = Image.open(io.BytesIO(base64.b64decode(answer.json["image"].split(",")[1])))
        page.paste(seen.resize((56, 56), Image.Resampling.NEAREST), (SIDE + 4, 2))
        text = f"{answer.json['prediction']}   {answer.json['confidence']:.2f}"
    else:
        text = "refused"
    draw.rectangle((1, 1, size[0] + 2, size[1] + 2), outline="#cccccc")
    kind = f"{answer.kind}: {answer.label}" if answer.label and answer.wrong() else answer.kind
    draw.text((2, SIDE + 5), kind, "#555555", font)
    draw.text((SIDE + 4, 62), text, "#c00000" if answer.wrong() else "#007020", font)
    return page


def draw_page(sections: dict[str, list[Answer]]) -> Image.Image:
    """Draw each section's title, and its answers below."""
    font = ImageFont.load_default(15)
    rows = [-(-len(answers) // COLUMNS) for answers in sections.values()]
    page = Image.new("RGB", (COLUMNS * WIDTH, sum(rows) * HEIGHT + 30 * len(rows)), "white")
    draw, top = ImageDraw.Draw(page), 0
    for (title, answers), height in zip(sections.items(), rows, strict=True):
        draw.text((2, top + 6), title, "black", font)
        for number, answer in enumerate(answers):
            row, column = divmod(number, COLUMNS)
            page.paste(cell(answer), (column * WIDTH, top + 30 + row * HEIGHT))
        top += 30 + height * HEIGHT
    return page


def main(model: Path) -> None:
    """Ask the model in a server in this process, and save the page."""
    client = create_app(model).test_client()
    first, failures, worst = [], [], []
    for kind, uploads in kinds():
        answers = [Answer(kind, upload, label, ask(client, upload)) for upload, label in uploads]
        wrong = [answer for answer in answers if answer.wrong()]
        wrong.sort(key=confidence, reverse=True)
        first.append(answers[0])
        failures += wrong
        worst += wrong[:OF_ONE_KIND]
    worst.sort(key=confidence, reverse=True)
    title = f"The surest of the {len(failures)} wrong answers to {COUNT} pictures of each kind"
    page = draw_page({"The first picture of each kind": first, title: worst[:FAILURES]})
    page.quantize(64, dither=Image.Dither.NONE).save(OUTPUT, optimize=True)
    print(f"{OUTPUT}: {OUTPUT.stat().st_size / 1000:.0f} kB; {title}")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python scripts/readings.py artifacts/model.onnx")
    main(Path(sys.argv[1]))
