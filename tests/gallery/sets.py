"""The sets of pictures of bench_reading.py: a source, what is done to it, and how many pictures.

    for upload, label in pictures("28x28, off centre, print", "decide"): ...

A set gives the same pictures on every run with the same fonts and packages. label is None on a
picture without a digit.
"""

import zlib
from collections.abc import Callable, Iterator
from itertools import islice

import numpy as np
from gallery import scenes_found, scenes_plain, scenes_things, sources
from gallery.doodles import doodles
from gallery.papers import encode, paint
from gallery.scenes_empty import EMPTY, LETTERS
from gallery.sources import Glyph

HALVES = ("decide", "report")
Source = Callable[[str], list[Glyph]]
Scene = Callable[[Glyph, np.random.Generator], bytes | None]


def hands(half: str) -> list[Glyph]:
    """Handwriting of fonts and of MNIST, in about equal parts, so that anybody can repeat it."""
    return [*sources.handwritten(half), *sources.mnist_digits(half, 100)]


def anybody(half: str) -> list[Glyph]:
    """Print and handwriting in about equal parts."""
    return [*sources.printed(half), *sources.handwritten(half), *sources.mnist_digits(half, 200)]


def printed_letters(half: str) -> list[Glyph]:
    return sources.printed(half, LETTERS)


def handwritten_letters(half: str) -> list[Glyph]:
    """Without the d, which is a capital D, and resembles a 0, in fonts that have only capitals."""
    return sources.handwritten(half, LETTERS.replace("d", ""))


# Whose digits are in the sets of the other scenes, where not anybody's.
SCENE_SOURCES: dict[str, Source] = {
    "whiteboard": hands,
    "school paper": hands,
    "phone photo": hands,
    "out of a number": sources.printed,
    "meter wheel": sources.printed,
    "seven segments": sources.segments,
    "dot matrix": sources.printed,
    "neon": hands,
    "embossed": sources.printed,
    "outlined": sources.printed,
    "corner of a canvas": hands,
}
plain = scenes_plain.SCENES
OTHER_SCENES = scenes_found.SCENES | scenes_things.SCENES
DIGIT_SETS: dict[str, tuple[Source, Scene, int]] = {
    "handwriting fonts": (sources.handwriting_fonts, plain["as it is"], 390),
    "handwriting fonts of Debian": (sources.handwritten, plain["as it is"], 240),
    "print, plain": (sources.printed, plain["plain"], 400),
    "print, cut out": (sources.printed, plain["cut out"], 400),
    "print, screenshot": (sources.printed, plain["screenshot"], 200),
    "28x28, off centre, print": (sources.printed, plain["28x28, off centre"], 300),
    "28x28, off centre, fonts": (hands, plain["28x28, off centre"], 300),
    "28x28, off centre, MNIST": (sources.mnist_digits, plain["28x28, off centre"], 300),
    "28x28, gray photo": (anybody, plain["28x28, gray photo"], 300),
    "cropped, print": (sources.printed, plain["cropped"], 300),
    "cropped, handwriting": (hands, plain["cropped"], 300),
    "scikit-learn's, enlarged": (sources.sklearn_digits, plain["enlarged"], 300),
    "8x8 and 16x16, enlarged": (anybody, plain["enlarged"], 300),
} | {name: (SCENE_SOURCES.get(name, anybody), scene, 200) for name, scene in OTHER_SCENES.items()}
EMPTY_SETS = {f"empty: {name}": scene for name, scene in EMPTY.items()}
EMPTY_COUNT = 40
OTHER_SETS: dict[str, tuple[Source, Scene, int]] = {
    "letters, print": (printed_letters, plain["plain"], 300),
    "letters, handwriting": (handwritten_letters, plain["as it is"], 200),
    "doodles": (doodles, plain["as it is"], 90),
}
NAMES = [*DIGIT_SETS, *EMPTY_SETS, *OTHER_SETS]


def touching_pairs(half: str, count: int = 150) -> Iterator[tuple[bytes, list[int]]]:
    """Uploads with two digits whose strokes touch, and their labels."""
    rng = np.random.default_rng(0)
    digits = sources.endless(anybody(half), rng)
    for left, right in islice(zip(digits, digits, strict=False), count):
        yield encode(touching(left, right, rng)), [int(left.character), int(right.character)]


def middle_of(cover: np.ndarray) -> np.ndarray:
    """The cover with rows without ink above and below it: [100, W]."""
    free = max(0, 100 - len(cover))
    return np.pad(cover, ((free // 2, free - free // 2), (0, 0)))[:100]


def touching(left: Glyph, right: Glyph, rng: np.random.Generator) -> np.ndarray:
    """The right digit is moved to the left until two strokes overlap a little: float [H, W, 3]."""
    one, two = (middle_of(glyph.draw(100)) for glyph in (left, right))
    two = np.roll(two, int(rng.integers(-6, 7)), axis=0)
    inked = ((one > 0.5).any(axis=1)) & ((two > 0.5).any(axis=1))
    free = np.argmax(one[inked, ::-1] > 0.5, axis=1) + np.argmax(two[inked] > 0.5, axis=1)
    overlap = min(free, default=0) + 2
    page = np.zeros((140, one.shape[1] + two.shape[1] - overlap + 60), np.float32)
    page[20:120, 30 : 30 + one.shape[1]] = one
    start = 30 + one.shape[1] - overlap
    own = page[20:120, start : start + two.shape[1]]
    np.maximum(own, two, out=own)
    return paint(page)


def pictures(name: str, half: str) -> Iterator[tuple[bytes, int | None]]:
    """The uploads of a set and their labels. Raises MissingSource."""
    rng = np.random.default_rng([zlib.crc32(name.encode()), HALVES.index(half)])
    if name in EMPTY_SETS:
        for _ in range(EMPTY_COUNT):
            yield EMPTY_SETS[name](rng), None
        return
    source, scene, count = (DIGIT_SETS | OTHER_SETS)[name]
    for glyph in islice(sources.endless(source(half), rng), count):
        upload = scene(glyph, rng)
        if upload is not None:
            yield upload, int(glyph.character) if name in DIGIT_SETS else None
