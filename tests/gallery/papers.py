"""Paper and light, to draw digits on: texture, printed lines, shade and shadows.

paint(cover, 40, ruled(rng, columns=True)) * light(rng, (PAGE, PAGE), darkest=0.3)
"""

import numpy as np
from gallery.handwriting import PAGE, paint
from PIL import Image


def noise(rng: np.random.Generator, size: tuple[int, int], grain: int) -> np.ndarray:
    """Smooth noise of standard deviation about 1, its blobs about grain pixels wide."""
    width, height = size
    small = rng.standard_normal((height // grain + 2, width // grain + 2)).astype(np.float32)
    return np.asarray(Image.fromarray(small).resize(size, Image.Resampling.BICUBIC)) * 1.2


def texture(rng: np.random.Generator, size: tuple[int, int] = (PAGE, PAGE)) -> np.ndarray:
    """Paper seen close: grain of two sizes and blotches, float32 [height, width, 1] around 225."""
    grain = 5 * noise(rng, size, 1) + 4 * noise(rng, size, 3) + 5 * noise(rng, size, 40)
    return 225 + grain[..., None]


def ruled(rng: np.random.Generator, columns: bool) -> np.ndarray:
    """Paper with printed blue lines, and columns on squared paper: float32 [PAGE, PAGE, 3]."""
    page = np.full((PAGE, PAGE, 3), 245, np.float32)
    step = int(rng.integers(14, 20) if columns else rng.integers(26, 40))
    for start in range(int(rng.integers(step)), PAGE, step):
        page[start : start + 2] = (150, 180, 220)
        if columns:
            page[:, start : start + 2] = (150, 180, 220)
    return page


def tilted_rulings(rng: np.random.Generator, columns: bool, least=1, most=10) -> np.ndarray:
    """Lined or squared paper photographed at an angle of 1 to 10 degrees: [PAGE, PAGE, 3]."""
    angle = np.deg2rad(rng.uniform(least, most) * rng.choice([-1, 1]))
    step = rng.integers(14, 20) if columns else rng.integers(26, 40)
    y, x = np.mgrid[0:PAGE, 0:PAGE] - PAGE / 2
    axes = [y * np.cos(angle) - x * np.sin(angle), x * np.cos(angle) + y * np.sin(angle)]
    cover = np.zeros((PAGE, PAGE))
    for along in axes[: 1 + columns]:
        offset = abs((along + rng.uniform(0, step)) % step - step / 2)
        cover = np.maximum(cover, np.clip(1.5 - offset, 0, 1))
    return paint(cover, (150, 180, 220), 245)


def light(rng: np.random.Generator, size: tuple[int, int], darkest: float) -> np.ndarray:
    """Light falling from 1 on one side to darkest on the other: float32 [height, width, 1]."""
    angle = rng.uniform(0, 2 * np.pi)
    y, x = np.mgrid[-1 : 1 : size[1] * 1j, -1 : 1 : size[0] * 1j]
    along = (x * np.cos(angle) + y * np.sin(angle)) / (abs(np.cos(angle)) + abs(np.sin(angle)))
    return (1 - (1 - darkest) * (along + 1) / 2).astype(np.float32)[..., None]


def hard_shadow(rng: np.random.Generator) -> np.ndarray:
    """A shadow with an edge a few pixels wide across the middle: float32 [PAGE, PAGE, 1]."""
    angle, offset = rng.uniform(0, 2 * np.pi), rng.uniform(-40, 40)
    y, x = np.mgrid[0:PAGE, 0:PAGE] - PAGE / 2
    along = x * np.cos(angle) + y * np.sin(angle) - offset
    return (0.5 + 0.5 / (1 + np.exp(-along / 3))).astype(np.float32)[..., None]
