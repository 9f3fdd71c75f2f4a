"""From a gray picture to digits: the network chooses between the readings of a picture.

result = read(gray, classify, several=False)

A reading is a guess at what on the picture is ink (ink.py). The first one whose digits the network
is sure of is accepted; if there is none, the one that it is least unsure of.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from vision.digits import (
    Digit,
    all_pieces,
    find_digits,
    framed_pieces,
    inner_pieces,
    kept_share,
    trust,
)
from vision.image import ImageError
from vision.ink import VISIBLE, WORK_SIDE, Ink, darkening, drawing, find_ink, without_rulings
from vision.mnist_form import mnist_picture, outermost, resize, to_mnist
from vision.touching import split_touching

# A reading is accepted above this confidence.
SURE = 0.9
# The longer side in pixels to which a picture of enlarged pixels is reduced.
COARSE_SIDE = 12
EMPTY = "Nothing is drawn on this picture: draw a digit and send it again."

Classify = Callable[[np.ndarray], np.ndarray]


class Reading(NamedTuple):
    """Digits uint8 [28, 28] from left to right, and their probabilities float32 [N, 10].

    boxes has (x, y, width, height) of each digit in pixels of the gray picture; more says that
    there are other digits on it. A picture that cannot be used has no digits, and an error.
    """

    digits: list[np.ndarray]
    probabilities: np.ndarray
    boxes: list[tuple[float, float, float, float]]
    more: bool = False
    error: ImageError | None = None

    def scaled(self, across: float, down: float) -> "Reading":
        """Return the same with boxes in pixels of a picture that is larger by these factors."""
        factors = np.array([across, down, across, down])
        return self._replace(boxes=np.rint(np.array(self.boxes) * factors).astype(int).tolist())


def read(gray: np.ndarray, classify: Classify, several: bool = False) -> Reading:
    """Read the largest digit on uint8 [H, W], or several ones. Raises ImageError if it is blank.

    classify returns the probabilities, float32 [N, 10], of images uint8 [N, 28, 28].
    """
    form = None if several else mnist_picture(gray)
    if form is not None:
        return Reading([form], classify(form[None]), [(0, 0, *gray.shape)])
    if np.ptp(gray) <= VISIBLE:
        raise ImageError("nothing_drawn", EMPTY)
    best, most = None, -np.inf
    for ink, choose in readings(gray, several):
        digits = find_digits(ink, choose(ink), 0 if several else 0.2)
        if not digits:
            continue
        more = len(digits) > 1 and not several
        if not several:
            digits = [max(digits, key=lambda digit: int(digit.cover.sum()))]
        # A table around a note says nothing about its only digit.
        kept = kept_share(digits, ink.areas if several else ink.areas[inner_pieces(ink)])
        if several:
            digits = split_touching(digits, lambda parts: classify(form_all(parts)).max(axis=1))
        images = form_all(digits)
        probabilities = classify(images)
        if score(probabilities, several) <= most:
            continue  # Trust only lowers it.
        trusted = kept * np.array([trust(ink, digit) for digit in digits])[:, None]
        # What the gray picture does not support is ten equal probabilities.
        probabilities = probabilities * trusted + (1 - trusted) / 10
        if score(probabilities, several) > most:
            most = score(probabilities, several)
            best = Reading([*images], probabilities, [digit.box for digit in digits], more)
        if probabilities.max(axis=1).min() > SURE:
            break
    if best is None:
        raise ImageError("nothing_drawn", EMPTY)
    return best


def score(probabilities: np.ndarray, several: bool) -> float:
    """Return the score by which the readings of a picture are compared.

    For one digit, it is the confidence; for several, the sum of 2 * confidence - 1 over those that
    are more likely right than wrong.
    """
    confidence = probabilities.max(axis=1)
    return np.maximum(2 * confidence - 1, 0).sum() if several else confidence[0]


def readings(gray: np.ndarray, several: bool) -> Iterator[tuple[Ink, Callable[[Ink], np.ndarray]]]:
    """Yield ink on uint8 [H, W] and which of its pieces belong to digits, the simplest first."""
    frame = outermost(gray)
    paper = int(frame.mean())
    contrast = max(paper - int(gray.min()), int(gray.max()) - paper)
    if plain := np.ptp(frame) <= VISIBLE < contrast:
        yield drawing(gray, paper), inner_pieces
    scale = max(1, max(gray.shape) / WORK_SIDE)
    light = resize(gray, 1 / scale)
    # Paper is what most of a picture shows, so ink is the other tail of its levels.
    if light.mean() > np.median(light):
        light = 255 - light
    dark = 255 - light
    darkness = darkening(light)
    ink = find_ink(darkness, light, scale=scale)
    yield ink, inner_pieces
    yield ink, framed_pieces
    if not several:
        coarse = resize(light, COARSE_SIDE / max(light.shape))
        yield find_ink(255 - coarse, coarse, scale=max(gray.shape) / COARSE_SIDE), all_pieces
    yield find_ink(dark, light, scale=scale), all_pieces
    if plain:  # Printed lines would reach the border, and the inside of a letter is not ink.
        return
    yield find_ink(light, dark, scale=scale), all_pieces
    unlined = without_rulings(darkness)
    if (unlined != darkness).any():
        yield find_ink(unlined, light, scale=scale), inner_pieces
    yield find_ink(darkening(dark), dark, scale=scale), inner_pieces


def form_all(digits: list[Digit]) -> np.ndarray:
    """Return digits in MNIST's form: uint8 [N, 28, 28]."""
    return np.stack([to_mnist(digit.cover) for digit in digits])
