"""Digits and letters that nothing here was made from: fonts, other writers, MNIST, scikit-learn's.

    for digit in endless(printed("decide"), rng):
        cover = digit.draw(40)  # the share of each pixel that ink covers, 40 pixels long

Each source has two halves, "decide" and "report", which share no font, writer or picture: whatever
is chosen is chosen on the first, and only the second is published. FONTS is where Debian's fonts
are installed (default /usr/share/fonts; font_files.py names the packages), DATA_DIR holds MNIST's
archives (default data/mnist), FONTS_TUNE is a file of other handwriting: .npz with `images`, uint8
[N, H, W], black on white, and `names`, "font:digit".
"""

import os
from collections.abc import Callable, Iterator, Sequence
from functools import cache, lru_cache, partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from gallery.font_files import DEBIAN_PACKAGES, HANDWRITTEN, PRINTED, SEGMENTS
from PIL import Image, ImageDraw, ImageFont

ROOT = Path(__file__).resolve().parents[2]


class MissingSource(Exception):
    """A source that is not on this machine, and how to get it."""


class Glyph(NamedTuple):
    """A digit or a letter.

    draw(size) is its ink, float32 [height, width] in 0..1, cropped; the longer side has that size.
    """

    character: str
    draw: Callable[[float], np.ndarray]


def printed(half: str, characters: str = "0123456789") -> list[Glyph]:
    return _of_fonts(PRINTED[half], characters)


def handwritten(half: str, characters: str = "0123456789") -> list[Glyph]:
    return _of_fonts(HANDWRITTEN[half], characters)


def segments(half: str) -> list[Glyph]:
    """The digits of a display, whose other segments show faintly."""
    return [
        Glyph(character, partial(_set_segments, path, character))
        for path in _paths(SEGMENTS[half])
        for character in "0123456789"
    ]


def handwriting_fonts(half: str) -> list[Glyph]:
    """The digits of FONTS_TUNE, every second font."""
    path = os.environ.get("FONTS_TUNE")
    if not path:
        raise MissingSource("set FONTS_TUNE to a file of handwritten digits, see sources.py")
    with np.load(path) as archive:
        images, names = archive["images"], [str(name).split(":") for name in archive["names"]]
    own = sorted({font for font, _ in names})[half == "report" :: 2]
    return [
        _of_picture(label, 255 - image)
        for image, (font, label) in zip(images, names, strict=True)
        if font in own
    ]


def mnist_digits(half: str, count: int = 1000) -> list[Glyph]:
    """MNIST's digits drawn again with smooth outlines: training's held-out or the test images."""
    folder = Path(os.environ.get("DATA_DIR", ROOT / "data" / "mnist"))
    if not any(folder.rglob("t10k-images*")):
        raise MissingSource(f"MNIST is not in {folder}: set DATA_DIR")
    from dataset import mnist

    *train, images, labels = (part.numpy() for part in mnist(folder))
    if half == "decide":
        images, labels = (part[-5000:] for part in train)
    chosen = np.linspace(0, len(labels) - 1, min(count, len(labels))).astype(int)
    digits = zip(images[chosen], labels[chosen], strict=True)
    return [_of_picture(str(label), _smooth(image)) for image, label in digits]


def sklearn_digits(half: str) -> list[Glyph]:
    """The 8x8 digits of scikit-learn, of which draw(size) is always [8, 8]."""
    from sklearn import datasets

    digits = datasets.load_digits()
    middle = len(digits.target) // 2  # The writers follow one another.
    own = slice(None, middle) if half == "decide" else slice(middle, None)
    pairs = zip(digits.target[own], np.float32(digits.images[own] / 16), strict=True)
    return [Glyph(str(label), lambda size, image=image: image) for label, image in pairs]


def endless(glyphs: Sequence[Glyph], rng: np.random.Generator) -> Iterator[Glyph]:
    """All glyphs in a random order, again and again."""
    while True:
        for index in rng.permutation(len(glyphs)):
            yield glyphs[index]


@cache
def _font_files() -> dict[str, Path]:
    folder = Path(os.environ.get("FONTS", "/usr/share/fonts"))
    return {path.name.replace(" ", ""): path for path in sorted(folder.rglob("*.[ot]tf"))}


def _paths(names: str) -> list[Path]:
    missing = [name for name in names.split() if name not in _font_files()]
    if missing:
        raise MissingSource(f"there is no {missing[0]}: apt-get install {DEBIAN_PACKAGES}")
    return [_font_files()[name] for name in names.split()]


def _of_fonts(names: str, characters: str) -> list[Glyph]:
    return [
        Glyph(character, partial(set_in_font, path, character))
        for path in _paths(names)
        for character in characters
    ]


@lru_cache(maxsize=500)
def _font(path: Path, size: float) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(path, size)


def set_in_font(path: Path, character: str, size: float) -> np.ndarray:
    """The ink of a character of a font, float32 [H, W] in 0..1; the longer side has that size."""
    left, top, right, bottom = _font(path, 400).getbbox(character, anchor="ls")
    font = _font(path, round(400 * size / max(bottom - top, right - left), 1))
    mask = font.getmask(character, mode="L", anchor="ls")
    return crop(np.asarray(mask, np.float32).reshape(mask.size[::-1]) / 255)


def _set_segments(path: Path, character: str, size: float) -> np.ndarray:
    left, top, right, bottom = _font(path, round(size, 1)).getbbox("8", anchor="ls")
    image = Image.new("L", (right - left, bottom - top))
    on, every = image, image.copy()
    for page, text in ((on, character), (every, "8")):
        ImageDraw.Draw(page).text((-left, -top), text, 255, _font(path, round(size, 1)), "ls")
    return np.maximum(np.asarray(on) / 255, np.asarray(every) / 255 * 0.1).astype(np.float32)


def _of_picture(character: str, picture: np.ndarray) -> Glyph:
    """A glyph from a large uint8 [H, W], white on black."""
    large = crop(np.float32(picture) / 255)
    return Glyph(character, lambda size: resized(large, size / max(large.shape)))


def _smooth(digit: np.ndarray) -> np.ndarray:
    """A pen's outline instead of a grid of gray squares: uint8 [280, 280] of [28, 28]."""
    large = Image.fromarray(digit).resize((280, 280), Image.Resampling.BICUBIC)
    outline = np.clip((np.asarray(large, np.float32) / 255 - 0.5) * 4 + 0.5, 0, 1)
    return np.uint8(outline * 255)


def crop(cover: np.ndarray, level: float = 0.02) -> np.ndarray:
    """The box of what is above a level."""
    rows, columns = (np.flatnonzero((cover > level).any(axis=axis)) for axis in (1, 0))
    return cover[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def resized(cover: np.ndarray, scale: float, how=Image.Resampling.LANCZOS) -> np.ndarray:
    """Float32 [H, W] in 0..1 at another scale."""
    size = [max(1, round(side * scale)) for side in cover.shape[::-1]]
    return np.clip(np.asarray(Image.fromarray(cover).resize(size, how)), 0, 1)
