"""MNIST's form for pictures of any size: the ink in a box of 20x20, centred by mass in 28x28."""

import numpy as np
from drawing.strokes import BOX, SIDE, centre


def to_mnist(pictures: np.ndarray) -> np.ndarray:
    """Bring ink uint8 [N, H, W] to MNIST's form: uint8 [N, 28, 28]; a blank picture stays blank.

    Each axis is resampled by its own matrix, whose entries are the overlaps of source and target
    pixels (area averaging), so that one matrix product scales a batch.
    """
    inked = pictures > 127
    rows, columns = bounds(inked.any(axis=2)), bounds(inked.any(axis=1))
    scale = BOX / np.maximum(np.maximum(rows[1] - rows[0], columns[1] - columns[0]), 1)
    down = overlaps(*rows, scale, pictures.shape[1])
    across = overlaps(*columns, scale, pictures.shape[2])
    fitted = down @ pictures.astype(np.float32) @ across.transpose(0, 2, 1)
    return centre(np.rint(fitted).astype(np.uint8))


def bounds(inked: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The first and one past the last True of each row of a boolean [N, L]; 0 and 0 if none."""
    length = inked.shape[1]
    first, last = inked.argmax(axis=1), length - inked[:, ::-1].argmax(axis=1)
    return np.where(inked.any(axis=1), (first, last), 0)


def overlaps(low: np.ndarray, high: np.ndarray, scale: np.ndarray, length: int) -> np.ndarray:
    """Float32 [N, SIDE, length]: the share of each source pixel in each target pixel.

    The source's interval from `low` to `high` is scaled by `scale` into the middle of the target.
    """
    edges = np.arange(SIDE + 1) - np.round(SIDE / 2 - (high - low) * scale / 2)[:, None]
    edges = edges / scale[:, None] + low[:, None]
    pixel = np.arange(length)
    shared = np.minimum(edges[:, 1:, None], pixel + 1) - np.maximum(edges[:, :-1, None], pixel)
    return (shared.clip(0) * scale[:, None, None]).astype(np.float32)
