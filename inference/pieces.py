"""From a map of ink to the digits in it: connected pieces, without rulings, borders and specks.

Used by normalise.py:  digits = find_digits(mask, gap, edges)
"""

import numpy as np

# Shares of the picture's side: a ruling is at most this thick, covers this much of the way across,
# this much of it clear of strokes, and starts and ends this near to the edges.
RULING_WIDTH, RULING_SHARE, RULING_BARE, RULING_MARGIN = 0.025, 0.7, 0.2, 0.03
# A piece along the picture's edge for this share of its length is a shadow, a table, a frame.
EDGE_SHARE = 0.5
# Pieces smaller than these shares of the largest's area and length are specks, and so is what is
# shorter than this share of the picture's side.
SPECK_AREA, SPECK_LENGTH, SMALLEST = 0.03, 0.12, 0.03
# Widths by the height: MNIST's digits are 0.75 on average, one in twenty is over 1.25.
TYPICAL_WIDTH, WIDEST_DIGIT = 0.75, 1.25

Box = tuple[int, int, int, int]


def find_digits(mask: np.ndarray, gap: float, edges: bool) -> list[np.ndarray]:
    """Group the pieces of a boolean [H, W] into digits, left to right, one boolean mask each.

    Pieces belong together where the columns between them are fewer than gap times their height.
    edges: whether what runs along the picture's edge counts where there is nothing else.
    """
    labels, count = connected_components(without_rulings(mask))
    boxes, areas = measure(labels, count)
    shortest = SMALLEST * max(mask.shape)
    kept = without_specks(boxes, areas, without_borders(labels, boxes, edges), shortest)
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
    return mask & ~_rulings(mask) & ~_rulings(mask.T).T


def _rulings(mask: np.ndarray) -> np.ndarray:
    """The pixels of the horizontal rulings."""
    height, width = mask.shape
    thickest = max(2, round(max(mask.shape) * RULING_WIDTH))
    thin = mask & (_run_lengths(mask) <= thickest)
    lined = _covered(mask) >= RULING_SHARE * width
    # Strokes may cover much of a line, but its ends and some of its way are bare.
    lined &= _covered(thin) >= RULING_BARE * width
    margin = max(1, round(width * RULING_MARGIN))
    lined &= (_covered(thin[:, :margin]) > 0) & (_covered(thin[:, -margin:]) > 0)
    lined = np.convolve(lined, np.ones(2 * thickest + 1, int), mode="same") > 0
    return thin & lined[:height, None]


def _covered(mask: np.ndarray) -> np.ndarray:
    """How many columns each row, taken with its neighbours, covers: a line may tilt slightly."""
    near = mask.copy()
    near[1:] |= mask[:-1]
    near[:-1] |= mask[1:]
    return near.sum(axis=1)


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


def without_borders(labels: np.ndarray, boxes: np.ndarray, edges: bool) -> np.ndarray:
    """The labels that do not run along the picture's edge; with edges all, if none is left."""
    count = len(boxes) - 1
    edge = np.concatenate([labels[0], labels[-1], labels[1:-1, 0], labels[1:-1, -1]])
    along = np.bincount(edge, minlength=count + 1)[1:]
    length = (boxes[1:, 2:] - boxes[1:, :2]).max(axis=1)
    inside = 1 + np.flatnonzero(along < EDGE_SHARE * length)
    substantial = len(inside) and length[inside - 1].max() > 0.05 * max(labels.shape)
    return inside if substantial or not edges else np.arange(1, count + 1)


def without_specks(
    boxes: np.ndarray, areas: np.ndarray, kept: np.ndarray, shortest: float
) -> np.ndarray:
    """The labels among kept that are neither tiny beside the largest nor under shortest pixels."""
    if len(kept) == 0:
        return kept
    length = (boxes[kept, 2:] - boxes[kept, :2]).max(axis=1)
    large = areas[kept] >= SPECK_AREA * areas[kept].max()
    return kept[large & (length >= max(SPECK_LENGTH * length.max(), shortest))]


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


def split_touching(mask: np.ndarray, tallest: int) -> list[np.ndarray]:
    """Cut a piece of a row that is too wide for one digit where a single stroke joins its parts.

    tallest is the height of the row's tallest digit. Best effort: digits that overlap stay one.
    """
    x, _, width, height = bounds(mask)
    count = round(width / (TYPICAL_WIDTH * max(height, 0.7 * tallest)))
    if width < WIDEST_DIGIT * height or count < 2:
        return [mask]
    depth = mask[:, x : x + width].sum(axis=0)
    share = width / count
    cuts = [0]
    for number in range(1, count):
        low, high = round((number - 0.3) * share), round((number + 0.3) * share)
        cuts.append(low + int(depth[low:high].argmin()))
    if depth[cuts[1:]].max() > 0.35 * height:
        return [mask]
    columns = np.arange(mask.shape[1]) - x
    edges = [*cuts, width]
    parts = [mask & (columns >= a) & (columns < b) for a, b in zip(edges, edges[1:], strict=False)]
    return [part for part in parts if part.any()]


def bounds(mask: np.ndarray) -> Box:
    """The box (x, y, width, height) around the true pixels of a boolean [H, W]."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    x, y = int(columns[0]), int(rows[0])
    return x, y, int(columns[-1]) + 1 - x, int(rows[-1]) + 1 - y


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
