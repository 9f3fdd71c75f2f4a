"""The three pictures that bench_serving.py sends, by name: UPLOADS["280x280 PNG drawing"]."""

import json
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter
from tiny_model import encoded

ROOT = Path(__file__).resolve().parent.parent
STROKES = json.loads((ROOT / "tests/inference/page/strokes.json").read_text())


def draw_digit(digit: int, side: int, width: float) -> Image.Image:
    """Draw a digit with a round pen, black on white: L, side x side, with smooth outlines.

    width is a share of the side.
    """
    scale = 4
    page = Image.new("L", (side * scale, side * scale), 255)
    draw = ImageDraw.Draw(page)
    radius = width * side * scale / 2
    for stroke in STROKES[str(digit)]:
        points = [(x * side * scale / 100, y * side * scale / 100) for x, y in stroke]
        draw.line(points, fill=0, width=round(2 * radius))
        for x, y in points:
            draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=0)
    return page.resize((side, side), Image.Resampling.BOX)


def mnist_jpeg() -> bytes:
    """Return a digit in MNIST's form, like those of data/testing."""
    sample = ROOT / "samples" / "digits" / "7-mnist-form.png"
    return encoded(Image.open(sample).convert("L"), "JPEG", quality=95)


def page_drawing() -> bytes:
    """Return a drawing as the page sends it: an RGB PNG with a pen of 0.065 of the side."""
    return encoded(draw_digit(7, 280, 0.065).convert("RGB"))


def photo() -> bytes:
    """Return a photo of 12 megapixels: a digit on shaded paper with noise."""
    width, height = 4000, 3000
    digit = draw_digit(7, 1000, 0.05).filter(ImageFilter.GaussianBlur(3))
    paper = np.full((height, width), 225, np.int16)
    paper[1000:2000, 1500:2500] -= (255 - np.asarray(digit, np.int16)) * 7 // 10
    shade = np.linspace(1, 0.6, width)
    noise = np.random.default_rng(0).integers(-8, 9, (height, width), dtype=np.int16)
    scene = np.clip(paper * shade + noise, 0, 255).astype(np.uint8)
    return encoded(Image.fromarray(scene).convert("RGB"), "JPEG", quality=85)


UPLOADS = {
    "28x28 JPEG": mnist_jpeg(),
    "280x280 PNG drawing": page_drawing(),
    "12-megapixel photo": photo(),
}
