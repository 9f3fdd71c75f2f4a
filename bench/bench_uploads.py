"""The three pictures that bench_serving.py sends, by name: UPLOADS["240x240 PNG drawing"]."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter
from tiny_model import encoded

SAMPLES = Path(__file__).resolve().parents[1] / "samples" / "digits"
DRAWING = Image.open(SAMPLES / "7.png").convert("L")


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
