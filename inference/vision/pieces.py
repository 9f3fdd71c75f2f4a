"""Connected pieces of ink.

labels, boxes, areas = label_pieces(mask)
"""

import numpy as np
from vision.mnist_form import with_margin


def label_pieces(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Label the 8-connected pieces of a boolean [H, W] whose outermost pixels are False.

    Returns int [H, W], 0 for the background and 1 to N for the pieces, their boxes, int [N, 4]
    as (left, top, right, bottom), right and bottom exclusive, and how many pixels each has. Runs of
    pixels that touch in neighbouring rows take the lower label until none changes.
    """
    height, width = mask.shape
    flat = mask.ravel()
    change = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    starts, ends = change[0::2], change[1::2]
    first = np.searchsorted(ends, starts + width)
    last = np.searchsorted(starts, ends + width, side="right")
    counts = np.maximum(last - first, 0)
    upper = np.repeat(np.arange(len(starts)), counts)
    lower = first[upper] + np.arange(len(upper)) - (counts.cumsum() - counts)[upper]
    parent = np.arange(len(starts))
    while (parent[upper] != parent[lower]).any():
        lowest = np.minimum(parent[upper], parent[lower])
        np.minimum.at(parent, parent[upper], lowest)
        np.minimum.at(parent, parent[lower], lowest)
        parent = parent[parent]
    own = parent == np.arange(len(parent))
    piece, count = (own.cumsum() - 1)[parent], own.sum()
    boxes = np.tile([width, height, 0, 0], (count, 1))
    np.minimum.at(boxes[:, 0], piece, starts % width)
    np.minimum.at(boxes[:, 1], piece, starts // width)
    np.maximum.at(boxes[:, 2], piece, ends - starts + starts % width)
    np.maximum.at(boxes[:, 3], piece, starts // width + 1)
    values = np.zeros(len(change) + 1, np.int32)
    values[1::2] = piece + 1
    labels = np.repeat(values, np.diff(change, prepend=0, append=mask.size)).reshape(mask.shape)
    return labels, boxes, np.bincount(piece, ends - starts, count)


def dilate(mask: np.ndarray) -> np.ndarray:
    """Add the neighbours of each true pixel, diagonal ones included."""
    padded = with_margin(mask)
    rows = padded[:-2] | padded[1:-1] | padded[2:]
    return rows[:, :-2] | rows[:, 1:-1] | rows[:, 2:]
