"""How the network learns: the numbers, the loss of a batch, the course of a run."""

import torch
import torch.nn.functional as F
from augment import augment
from dataset import Dataset
from network import normalise
from torch import Tensor, nn

RECIPE = {
    "batch": 128,
    "peak_learning_rate": 0.5,
    "warm_up": 0.25,  # of all steps
    "momentum": 0.9,
    "weight_decay": 5e-4,
    "label_smoothing": 0.05,
    "non_digits": 24,  # added to every batch
    "last_share": 0.25,  # of all steps, with distortions of last_strength
    "last_strength": 0.6,
}


def learning_rate(step: int, steps: int) -> float:
    """One cycle, up and down in straight lines (Smith and Topin 2018, Super-Convergence)."""
    warm_up = RECIPE["warm_up"] * steps
    share = (step + 1) / (warm_up + 1) if step < warm_up else (steps - step) / (steps - warm_up)
    return RECIPE["peak_learning_rate"] * share


def batch_loss(
    network: nn.Module, data: Dataset, chosen: Tensor, non_digits: Tensor, strength: float
) -> Tensor:
    """Cross entropy of the training images with indices `chosen`, augmented with `strength`.

    Some of `non_digits` uint8 [M, 28, 28] go with them, to be answered with ten equal probabilities
    (Hendrycks, Mazeika and Dietterich 2019, Deep Anomaly Detection with Outlier Exposure).
    """
    extra = torch.randint(len(non_digits), (RECIPE["non_digits"],)).to(non_digits.device)
    smoothing = RECIPE["label_smoothing"]
    targets = F.one_hot(data.train_labels[chosen], 10) * (1 - smoothing) + smoothing / 10
    targets = torch.cat([targets, targets.new_full((len(extra), 10), 0.1)])
    pixels = normalise(augment(torch.cat([data.train[chosen], non_digits[extra]]), strength))
    pixels = pixels.contiguous(memory_format=torch.channels_last)
    with torch.autocast(pixels.device.type, torch.bfloat16, enabled=bf16_is_fast(pixels.device)):
        logits = network(pixels)
    return F.cross_entropy(logits.float(), targets)


def distortion(step: int, steps: int) -> float:
    """The strength of the augmentation: milder at the end, when the network meets clean digits.

    He et al. 2019, Data Augmentation Revisited, section 4.
    """
    return RECIPE["last_strength"] if step >= (1 - RECIPE["last_share"]) * steps else 1.0


def bf16_is_fast(device: torch.device) -> bool:
    """Whether the hardware multiplies bfloat16 itself; elsewhere autocast makes training slower."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    able = torch.cpu.get_capabilities()
    return any(able.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16"))
