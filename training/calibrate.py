"""Temperature scaling, so that a confidence of 90 % is right nine times in ten.

Guo, Pleiss, Sun and Weinberger 2017, "On Calibration of Modern Neural Networks", section 4.2.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

BINS = 15


def fit_temperature(logits: Tensor, labels: Tensor) -> float:
    """The T > 0 that minimises the cross entropy of logits / T: logits [N, 10], labels [N]."""
    candidates = torch.logspace(-1, 1, 401).tolist()
    return min(candidates, key=lambda t: F.cross_entropy(logits / t, labels).item())


def expected_calibration_error(probabilities: Tensor, labels: Tensor) -> float:
    """Mean gap between confidence and accuracy over 15 equal bins (section 2), 0..1."""
    confidence, prediction = probabilities.max(dim=1)
    right = (prediction == labels).float()
    bins = (confidence * BINS).long().clamp(max=BINS - 1)
    gap = torch.zeros(BINS).index_add_(0, bins, confidence - right)
    return (gap.abs().sum() / len(labels)).item()
