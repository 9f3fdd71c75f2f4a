"""Ink on paper, the texture of paper, light, and files: what all scenes are made of.

encode(paint(cover, 40, texture(rng, size)) * light(rng, size, darkest=0.3), "JPEG", quality=20)
"""

import io

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

PENS = ((25, 25, 30), (30, 50, 150), (190, 30, 40), (20, 110, 60), (70, 70, 75))


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


def grid(size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """y and x of each pixel, from -1 to 1: float [height, width]."""
    y, x = np.mgrid[-1 : 1 : size[1] * 1j, -1 : 1 : size[0] * 1j]
    return y, x


def edge(distance: np.ndarray) -> np.ndarray:
    """A soft edge, the logistic curve: 0 far below a distance of 0, 1/2 at it, 1 far above it."""
    return 1 / (1 + np.exp(-np.clip(distance, -50, 50)))


def light(rng: np.random.Generator, size: tuple[int, int], darkest: float) -> np.ndarray:
    """Light falling from 1 on one side to darkest on the other: float32 [height, width, 1]."""
    angle = rng.uniform(0, 2 * np.pi)
    y, x = grid(size)
    along = (x * np.cos(angle) + y * np.sin(angle)) / (abs(np.cos(angle)) + abs(np.sin(angle)))
    return (1 - (1 - darkest) * (along + 1) / 2).astype(np.float32)[..., None]


def encode(picture: np.ndarray, format: str = "PNG", **options) -> bytes:
    """Float or uint8 [H, W] or [H, W, 3 or 4], values 0..255, to the bytes of a file."""
    stream = io.BytesIO()
    Image.fromarray(np.clip(np.rint(picture), 0, 255).astype(np.uint8)).save(
        stream, format, **options
    )
    return stream.getvalue()


def blurred(picture: np.ndarray, radius: float) -> np.ndarray:
    """Float [H, W, 3], values 0..255, out of focus."""
    image = Image.fromarray(np.uint8(np.clip(picture, 0, 255)))
    return np.asarray(image.filter(ImageFilter.GaussianBlur(radius)), np.float32)


def page(cover: np.ndarray, rng: np.random.Generator, ink=None, paper=None) -> np.ndarray:
    """A photo of a pen's strokes on paper, of any size and light: float32 [H, W, 3]."""
    size = cover.shape[::-1]
    ink = PENS[rng.integers(len(PENS))] if ink is None else ink
    paper = texture(rng, size) if paper is None else paper
    return paint(cover, ink, paper) * light(rng, size, rng.uniform(0.7, 1))


def jpeg(scene: np.ndarray, rng: np.random.Generator, **options) -> bytes:
    """As a camera saves it: a little blur and noise, quality 60 to 95."""
    scene = blurred(scene, rng.uniform(0.2, 1))
    scene = scene + rng.normal(0, rng.uniform(1, 4), (*scene.shape[:2], 1))
    return encode(scene, "JPEG", quality=int(rng.integers(60, 96)), **options)


def turned(scene: np.ndarray, degrees: float) -> np.ndarray:
    """Float32 [H, W, 3] turned about its middle; what comes in is a copy of the border."""
    wide = np.pad(scene, ((40, 40), (40, 40), (0, 0)), mode="edge")
    image = Image.fromarray(np.uint8(np.clip(wide, 0, 255)))
    return np.asarray(image.rotate(degrees, Image.Resampling.BICUBIC), np.float32)[40:-40, 40:-40]


def shapes(size: tuple[int, int], draw) -> np.ndarray:
    """What draw(ImageDraw, scale) draws, with smooth edges: float32 [H, W] in 0..1."""
    scale = 4
    image = Image.new("L", (size[0] * scale, size[1] * scale))
    draw(ImageDraw.Draw(image), scale)
    return np.asarray(image.resize(size, Image.Resampling.BOX), np.float32) / 255


def shrunk(scene: np.ndarray, rng: np.random.Generator, how=Image.Resampling.BICUBIC) -> bytes:
    """A gray PNG of 28x28 pixels of a photo, with the noise of a camera."""
    small = Image.fromarray(np.uint8(np.clip(scene[..., 0], 0, 255))).resize((28, 28), how)
    return encode(np.asarray(small, np.float32) + rng.normal(0, 2, (28, 28)))


def finger(scene: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A finger that is out of focus reaches in from the middle of a side."""
    y, x = grid(scene.shape[1::-1])
    along, across = ((x, y), (-x, y), (y, x), (-y, x))[rng.integers(4)]
    distance = ((along - 1.1) / 0.35) ** 2 + ((across - rng.uniform(-0.7, 0.7)) / 0.25) ** 2
    cover = edge((1 - np.sqrt(distance)) * 20)
    return paint(np.float32(cover), (190, 130, 105), scene)
