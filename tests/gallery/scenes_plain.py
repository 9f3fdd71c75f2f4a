"""Pictures that hold a digit and little else: plain, cut out, 28x28, cropped, of low resolution.

SCENES["28x28, off centre"](glyph, rng) returns the bytes of an upload; glyph is one of sources.py.
A picture that nobody could read is None: a bare bar that is cropped to its box is all ink.
"""

import io

import numpy as np
from gallery.papers import blurred, encode, light, paint, shrunk, texture
from gallery.sources import Glyph, crop, resized
from PIL import Image

RESIZES = (Image.Resampling.NEAREST, Image.Resampling.BILINEAR, Image.Resampling.BICUBIC)
CROPS = {  # by name: the level above which ink counts, and pixels added on each side
    "at 20": (20, 0),
    "at 127": (127, 0),
    "at 200": (200, 0),
    "plus 1": (127, 1),
    "minus 1": (127, -1),
}


def around(cover: np.ndarray, margins) -> np.ndarray:
    """The cover with pixels without ink on its upper, right, lower and left side."""
    top, right, bottom, left = (int(margin) for margin in margins)
    return np.pad(cover, ((top, bottom), (left, right)))


def inside(cover: np.ndarray, size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """The cover anywhere on a page of this width and height, at least a pixel from its sides."""
    free = [whole - own for whole, own in zip(size[::-1], cover.shape, strict=True)]
    top, left = (int(rng.integers(min(1, room // 2), max(room, 1))) for room in free)
    return around(cover, (top, free[1] - left, free[0] - top, left))


def two_colours(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Ink and paper that differ by a luminance of at least 100; either may be the darker one."""
    dark = rng.uniform(0, 70) + rng.uniform(0, 40, 3)
    bright = rng.uniform(190, 255) - rng.uniform(0, 60, 3) * (rng.random() < 0.6)
    return (dark, bright) if rng.random() < 0.5 else (bright, dark)


def plain(glyph: Glyph, rng: np.random.Generator) -> bytes:
    """16 to 180 pixels, wide margins, dark on light or light on dark, white or coloured paper."""
    cover = glyph.draw(np.exp(rng.uniform(np.log(16), np.log(180))))
    margins = rng.uniform(0.25, 1, 4) * max(cover.shape) + 3
    ink, paper = (0, 255) if rng.random() < 0.3 else two_colours(rng)
    return encode(paint(around(cover, margins), ink, paper))


def as_it_is(glyph: Glyph, rng: np.random.Generator) -> bytes:
    """Black on white, or dark ink of a colour, on a square of 160 pixels."""
    cover = inside(glyph.draw(rng.uniform(70, 130)), (160, 160), rng)
    return encode(paint(cover, rng.uniform(0, 110, 3) if rng.random() < 0.5 else 0, 255))


def cut_out(glyph: Glyph, rng: np.random.Generator) -> bytes:
    """From a photo, a screenshot or a card: 16 to 60 pixels, margins of 2 to 6, noise, JPEG."""
    cover = around(glyph.draw(rng.uniform(16, 60)), rng.integers(2, 7, 4))
    ink, paper = rng.uniform(10, 80) + rng.uniform(0, 30, 3), rng.uniform((185, 190, 180), 250)
    if rng.random() < 0.25:
        ink, paper = paper, ink
    scene = paint(cover, ink, paper) * light(rng, cover.shape[::-1], rng.uniform(0.8, 1))
    scene = blurred(scene, rng.uniform(0, 0.8))
    scene = scene + rng.normal(0, rng.uniform(1, 6), (*cover.shape, 1))
    return encode(scene, "JPEG", quality=int(rng.integers(40, 91)))


def off_centre(glyph: Glyph, rng: np.random.Generator) -> bytes:
    """28x28: 12 to 26 pixels, anywhere, dark on light or light on dark, white or gray paper."""
    cover = inside(glyph.draw(rng.uniform(12, 26)), (28, 28), rng)
    ink, paper = rng.choice([(0, 255), (255, 0), (40, 200), (60, 150), (230, 90), (20, 235)])
    return encode(paint(cover, ink, paper)[..., 0])


def gray_photo(glyph: Glyph, rng: np.random.Generator) -> bytes:
    """A photo of paper in uneven light, shrunk to 28x28."""
    cover = inside(glyph.draw(rng.uniform(130, 210)), (280, 280), rng)
    scene = paint(cover, rng.uniform(20, 90), texture(rng) - rng.uniform(0, 70))
    scene = scene * light(rng, (280, 280), rng.uniform(0.6, 1))
    return shrunk(scene, rng, RESIZES[rng.integers(1, 3)])


def cropped(glyph: Glyph, rng: np.random.Generator) -> bytes | None:
    """The digit's box in one of five ways, 20 to 200 pixels, four pairs of levels."""
    cover = glyph.draw(np.exp(rng.uniform(np.log(20), np.log(200))))
    level, more = list(CROPS.values())[rng.integers(len(CROPS))]
    if cover.max() <= level / 255:
        return None
    cover = crop(cover, level / 255)
    cover = np.pad(cover, 1) if more > 0 else cover[1:-1, 1:-1] if more < 0 else cover
    if min(cover.shape) < 4 or cover.mean() > 0.75:
        return None
    ink, paper = rng.choice([(0, 255), (255, 0), (50, 210), (220, 70)])
    return encode(paint(cover, ink, paper)[..., 0])


def enlarged(glyph: Glyph, rng: np.random.Generator) -> bytes:
    """8x8 or 16x16 pixels, enlarged to 64 to 512 in one of three ways."""
    cover = glyph.draw(rng.choice([8, 16]))
    side = max(cover.shape)
    free = [side - own for own in cover.shape]
    cover = np.pad(cover, [(room // 2, room - room // 2) for room in free])
    how = RESIZES[rng.integers(3)]
    cover = resized(cover, rng.choice([64, 100, 160, 256, 512]) / side, how)
    return encode(paint(cover, *((0, 255) if rng.random() < 0.5 else (255, 0)))[..., 0])


def screenshot(glyph: Glyph, rng: np.random.Generator) -> bytes:
    """9 to 16 pixels, as text on a screen, with margins of 2 to 8 pixels, sometimes a palette."""
    cover = around(glyph.draw(rng.uniform(9, 16)), rng.integers(2, 9, 4))
    picture = paint(cover, *two_colours(rng))
    if rng.random() < 0.7:
        return encode(picture)
    stream = io.BytesIO()
    Image.fromarray(np.uint8(picture)).quantize(16).save(stream, "GIF")
    return stream.getvalue()


SCENES = {
    "as it is": as_it_is,
    "plain": plain,
    "cut out": cut_out,
    "screenshot": screenshot,
    "28x28, off centre": off_centre,
    "28x28, gray photo": gray_photo,
    "cropped": cropped,
    "enlarged": enlarged,
}
