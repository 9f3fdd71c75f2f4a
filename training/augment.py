"""Random distortions of a batch of digits, on tensors: what handwriting and cameras vary.

Affine and elastic distortion follow Simard, Steinkraus and Platt 2003, "Best Practices for
Convolutional Neural Networks Applied to Visual Document Analysis", section 2.
"""

import math
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

ROTATION = math.radians(15)
SHEAR = 0.2
SCALE = 0.12
SHIFT = 2 / 14  # of half the picture: two pixels
ELASTIC = 0.8 / 14  # displacement of the control points
ELASTIC_POINTS = 5


def uniform(count: int, low: float, high: float, device: torch.device) -> Tensor:
    """Random numbers [count]."""
    return torch.empty(count, device=device).uniform_(low, high)


def warp(images: Tensor, strength: float) -> Tensor:
    """Rotate, shear, scale, shift and bend float images [N, 1, 28, 28], each its own way."""
    count, device = len(images), images.device
    angle = strength * uniform(count, -ROTATION, ROTATION, device)
    shear = strength * uniform(count, -SHEAR, SHEAR, device)
    width = 1 + strength * uniform(count, -SCALE, SCALE, device)
    height = 1 + strength * uniform(count, -SCALE, SCALE, device)
    cos, sin = angle.cos(), angle.sin()
    x, y = (
        strength * uniform(count, -SHIFT, SHIFT, device),
        strength * uniform(count, -SHIFT, SHIFT, device),
    )
    rows = [cos / width, (shear * cos - sin) / width, x, sin / height, (shear * sin + cos) / height]
    theta = torch.stack([*rows, y], dim=1).view(count, 2, 3)
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    points = (
        torch.randn(count, 2, ELASTIC_POINTS, ELASTIC_POINTS, device=device) * ELASTIC * strength
    )
    spread = cubic_spread(images.shape[-1]).to(device)
    bend = spread @ points @ spread.T
    return F.grid_sample(images, grid + bend.permute(0, 2, 3, 1), align_corners=False)


@cache
def cubic_spread(side: int) -> Tensor:
    """The matrix [side, ELASTIC_POINTS] of cubic interpolation: ten times faster than the op."""
    points = torch.eye(ELASTIC_POINTS)[None, None]
    shape = (side, ELASTIC_POINTS)
    return F.interpolate(points, shape, mode="bicubic", align_corners=True)[0, 0]


def change_strokes(images: Tensor) -> Tensor:
    """Thicken, thin or blur, more or less, the strokes of float images [N, 1, 28, 28]."""
    third = len(images) // 3
    thick, thin, soft = images[:third], images[third : 2 * third], images[2 * third :]
    changed = torch.cat(
        [
            F.max_pool2d(thick, 3, stride=1, padding=1),
            # A pixel all around is too much for a thin stroke: it would vanish.
            -0.7 * F.max_pool2d(-thin, 3, stride=1, padding=1) + 0.3 * thin,
            F.avg_pool2d(soft, 3, stride=1, padding=1),
        ]
    )
    strength = uniform(len(images), 0, 1, images.device).view(-1, 1, 1, 1)
    return torch.lerp(images, changed, strength)


def augment(images: Tensor, strength: float = 1.0) -> Tensor:
    """Distort uint8 images [N, 28, 28]; returns float32 [N, 28, 28] in 0..255.

    `strength` scales the distortions of the shape: 0 leaves it as it is.
    """
    pixels = warp(images.unsqueeze(1).to(torch.float32), strength)
    chosen = torch.randperm(len(images), device=images.device)[: len(images) // 4]
    pixels[chosen] = change_strokes(pixels[chosen])
    noise = uniform(len(images), -12, 12, images.device).clamp(min=0).view(-1, 1, 1, 1)
    pixels = pixels + torch.randn_like(pixels) * noise
    return pixels.clamp_(0, 255).squeeze(1)
