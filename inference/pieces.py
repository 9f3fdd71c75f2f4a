"""From a map of ink to the digits in it: connected pieces, without rulings, borders and specks.

Used by normalise.py:  digits = find_digits(ink, threshold)
"""

import numpy as np

# Shares of the picture's side: a ruling is at most this thick, covers at least this much of the
# way across, and starts and ends this near to the edges.
RULING_WIDTH, RULING_SHARE, RULING_MARGIN = 0.025, 0.6, 0.03
# A piece along the picture's edge for this share of its length is a shadow, a table, a frame.
EDGE_SHARE = 0.5
# Pieces smaller than these shares of the largest's area and length are specks.
SPECK_AREA, SPECK_LENGTH = 0.03, 0.12

Box = tuple[int, int, int, int]


def find_digits(mask: np.ndarray, gap: float) -> list[np.ndarray]:
    """Group the pieces of a boolean [H, W] into digits, left to right, one boolean mask each.

    Pieces belong together where the columns between them are fewer than gap times their height.
    """
    labels, count = connected_components(without_rulings(mask))
    boxes, areas = measure(labels, count)
    kept = without_specks(boxes, areas, without_borders(labels, boxes))
    return [np.isin(labels, group) for group in group_columns(boxes, kept, gap)]


def measure(labels: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Boxes, int [count + 1, 4] as (left, top, right, bottom), right and bottom exclusive, and
    areas, int [count + 1], of the labels of a picture; row 0 is the ground's and means nothing."""
    boxes = np.zeros((count + 1, 4), int)
    boxes[:, :2] = labels.size
    rows, columns = np.nonzero(labels)
    found = labels[rows, columns]
    for side, values in ((0, columns), (1, rows)):
        np.minimum.at(boxes[:, side], found, values)
        np.maximum.at(boxes[:, side + 2], found, values + 1)
    return boxes, np.bincount(labels.ravel(), minlength=count + 1)


def without_rulings(mask: np.ndarray) -> np.ndarray:
    """Remove the lines of lined and squared paper: thin, straight, from edge to edge.

    A line is removed run by run across it, as staff lines are in optical music recognition
    (Dalitz et al. 2008, IEEE Trans. PAMI 30(5), 753-766), so strokes that cross it stay whole.
    """
    clean = mask & ~_rulings(mask) & ~_rulings(mask.T).T
    # A one drawn from edge to edge is a line too: it is only a ruling if something else is there.
    return clean if clean.sum() > 0.1 * mask.sum() else mask


def _rulings(mask: np.ndarray) -> np.ndarray:
    """The pixels of the horizontal rulings."""
    height, width = mask.shape
    thickest = max(2, round(max(mask.shape) * RULING_WIDTH))
    thin = mask & (_run_lengths(mask) <= thickest)
    # A slightly tilted line crosses a few rows: look at each with its neighbours.
    near = thin.copy()
    near[1:] |= thin[:-1]
    near[:-1] |= thin[1:]
    margin = max(1, round(width * RULING_MARGIN))
    lined = near.sum(axis=1) >= RULING_SHARE * width
    lined &= near[:, :margin].any(axis=1) & near[:, -margin:].any(axis=1)
    lined = np.convolve(lined, np.ones(2 * thickest + 1, int), mode="same") > 0
    return thin & lined[:height, None]


def _run_lengths(mask: np.ndarray) -> np.ndarray:
    """For each true pixel the length of the vertical run it belongs to: int [H, W]."""
    height, width = mask.shape
    columns = np.zeros((width, height + 2), np.int8)
    columns[:, 1:-1] = mask.T
    step = np.diff(columns, axis=1).ravel()
    starts, ends = np.flatnonzero(step == 1), np.flatnonzero(step == -1)
    change = np.zeros(step.size, int)
    change[starts] = ends - starts
    change[ends] -= ends - starts
    return np.cumsum(change).reshape(width, height + 1)[:, :height].T


def without_borders(labels: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """The labels that do not run along the picture's edge; all of them if none is left."""
    count = len(boxes) - 1
    edge = np.concatenate([labels[0], labels[-1], labels[1:-1, 0], labels[1:-1, -1]])
    along = np.bincount(edge, minlength=count + 1)[1:]
    length = (boxes[1:, 2:] - boxes[1:, :2]).max(axis=1)
    inside = 1 + np.flatnonzero(along < EDGE_SHARE * length)
    substantial = len(inside) and length[inside - 1].max() > 0.05 * max(labels.shape)
    return inside if substantial else np.arange(1, count + 1)


def without_specks(boxes: np.ndarray, areas: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """The labels among kept that are not tiny beside the largest of them."""
    if len(kept) == 0:
        return kept
    length = (boxes[kept, 2:] - boxes[kept, :2]).max(axis=1)
    large = (areas[kept] >= SPECK_AREA * areas[kept].max()) & (
        length >= SPECK_LENGTH * length.max()
    )
    return kept[large]


def group_columns(boxes: np.ndarray, kept: np.ndarray, gap: float) -> list[list[int]]:
    """Labels that stand above one another, or nearly so, are one digit: groups, left to right."""
    if len(kept) == 0:
        return []
    tallest = (boxes[kept, 3] - boxes[kept, 1]).max()
    groups: list[list[int]] = []
    right = 0
    for label in sorted(kept, key=lambda label: boxes[label, 0]):
        left, top, end, bottom = boxes[label]
        overlap = right - left
        fragment = bottom - top < 0.4 * tallest and overlap > -0.15 * tallest
        together = overlap > 0.3 * (end - left) or overlap > -gap * tallest or fragment
        if groups and together:
            groups[-1].append(int(label))
        else:
            groups.append([int(label)])
        right = max(right, end) if groups[-1][0] != label else end
    return groups


def connected_components(mask: np.ndarray) -> tuple[np.ndarray, int]:
    """Label the 8-connected pieces of a boolean [H, W]: int32 labels (0 is ground), their count.

    Runs of pixels are the nodes; runs that touch in neighbouring rows share the lower label until
    none changes (pointer jumping, Shiloach and Vishkin 1982), all in array operations.
    """
    height, width = mask.shape
    padded = np.zeros((height, width + 2), np.int8)
    padded[:, 1:-1] = mask
    step = np.diff(padded, axis=1).ravel()
    starts, ends = np.flatnonzero(step == 1), np.flatnonzero(step == -1)
    count = len(starts)
    if count == 0:
        return np.zeros(mask.shape, np.int32), 0
    # Positions are row * (width + 1) + column, so a row below is one such stride further; a run
    # touches the runs below from the first that ends at or after its start, diagonals included.
    stride = width + 1
    first = np.searchsorted(ends, starts + stride, side="left")
    last = np.searchsorted(starts, ends + stride, side="right")
    upper = np.repeat(np.arange(count), np.maximum(last - first, 0))
    offset = np.arange(len(upper)) - np.repeat(
        np.cumsum(np.maximum(last - first, 0)) - np.maximum(last - first, 0),
        np.maximum(last - first, 0),
    )
    lower = first[upper] + offset
    parent = _join(count, upper, lower)
    roots, label = np.unique(parent, return_inverse=True)
    filled = np.zeros(height * stride + 1, np.int32)
    filled[starts] += (label + 1).astype(np.int32)
    filled[ends] -= (label + 1).astype(np.int32)
    return np.cumsum(filled)[:-1].reshape(height, stride)[:, :width].astype(np.int32), len(roots)


def _join(count: int, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    parent = np.arange(count)
    while True:
        low = np.minimum(parent[first], parent[second])
        before = parent.copy()
        np.minimum.at(parent, parent[first], low)
        np.minimum.at(parent, parent[second], low)
        parent = parent[parent]
        if np.array_equal(parent, before):
            return parent


