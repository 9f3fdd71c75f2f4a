"""Ink on paper, the texture of paper, light, and files: what all scenes are made of.

encode(paint(cover, 40, texture(rng, size)) * light(rng, size, darkest=0.3), "JPEG", quality=20)
"""

import io

import numpy as np
from PIL import Image


def paint(cover: np.ndarray, ink=30, paper=245) -> np.ndarray:
    """Ink on paper, each a level, an RGB triple or an array: float32 [height, width, 3]."""
    cover = cover[..., None]
    paper = np.broadcast_to(np.float32(paper), (*cover.shape[:2], 3))
    return paper * (1 - cover) + np.float32(ink) * cover


def noise(rng: np.random.Generator, size: tuple[int, int], grain: int) -> np.ndarray:
    """Smooth noise of standard deviation about 1, its blobs about grain pixels wide."""
    width, height = size
    small = rng.standard_normal((height // grain + 2, width // grain + 2)).astype(np.float32)
    return np.asarray(Image.fromarray(small).resize(size, Image.Resampling.BICUBIC)) * 1.2


def texture(rng: np.random.Generator, size: tuple[int, int] = (280, 280)) -> np.ndarray:
    """Paper seen close: grain of two sizes and blotches, float32 [height, width, 1] around 225."""
    grain = 5 * noise(rng, size, 1) + 4 * noise(rng, size, 3) + 5 * noise(rng, size, 40)
    return 225 + grain[..., None]


def light(rng: np.random.Generator, size: tuple[int, int], darkest: float) -> np.ndarray:
    """Light falling from 1 on one side to darkest on the other: float32 [height, width, 1]."""
    angle = rng.uniform(0, 2 * np.pi)
    y, x = np.mgrid[-1 : 1 : size[1] * 1j, -1 : 1 : size[0] * 1j]
    along = (x * np.cos(angle) + y * np.sin(angle)) / (abs(np.cos(angle)) + abs(np.sin(angle)))
    return (1 - (1 - darkest) * (along + 1) / 2).astype(np.float32)[..., None]


def encode(picture: np.ndarray, format: str = "PNG", **options) -> bytes:
    """Float or uint8 [H, W] or [H, W, 3 or 4], values 0..255, to the bytes of a file."""
    stream = io.BytesIO()
    Image.fromarray(np.clip(np.rint(picture), 0, 255).astype(np.uint8)).save(
        stream, format, **options
    )
    return stream.getvalue()
