"""Random distortions of a batch of digits, on tensors: what handwriting and cameras vary.

Affine and elastic distortion follow Simard, Steinkraus and Platt 2003, "Best Practices for
Convolutional Neural Networks Applied to Visual Document Analysis", section 2.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

ROTATION = math.radians(11)
SHEAR = 0.2
SCALE = 0.12
SHIFT = 2 / 14  # of half the picture: two pixels
ELASTIC = 0.8 / 14  # displacement of the control points
ELASTIC_POINTS = 5


def uniform(count: int, low: float, high: float, device: torch.device) -> Tensor:
    """Random numbers [count]."""
    return torch.empty(count, device=device).uniform_(low, high)


def warp(images: Tensor) -> Tensor:
    """Rotate, shear, scale, shift and bend float images [N, 1, 28, 28], each its own way."""
    count, device = len(images), images.device
    angle = uniform(count, -ROTATION, ROTATION, device)
    shear = uniform(count, -SHEAR, SHEAR, device)
    width = 1 + uniform(count, -SCALE, SCALE, device)
    height = 1 + uniform(count, -SCALE, SCALE, device)
    cos, sin = angle.cos(), angle.sin()
    x, y = uniform(count, -SHIFT, SHIFT, device), uniform(count, -SHIFT, SHIFT, device)
    rows = [cos / width, (shear * cos - sin) / width, x, sin / height, (shear * sin + cos) / height]
    theta = torch.stack([*rows, y], dim=1).view(count, 2, 3)
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    points = torch.randn(count, 2, ELASTIC_POINTS, ELASTIC_POINTS, device=device) * ELASTIC
    bend = F.interpolate(points, images.shape[-2:], mode="bicubic", align_corners=True)
    return F.grid_sample(images, grid + bend.permute(0, 2, 3, 1), align_corners=False)


def change_strokes(images: Tensor) -> Tensor:
    """Thicken, thin or blur the strokes of float images [N, 1, 28, 28], a quarter of them."""
    count, device = len(images), images.device
    strength = uniform(count, 0, 1, device).view(-1, 1, 1, 1)
    thick = F.max_pool2d(images, 3, stride=1, padding=1)
    thin = -F.max_pool2d(-images, 3, stride=1, padding=1)
    soft = F.avg_pool2d(images, 3, stride=1, padding=1)
    choice = torch.randint(0, 16, (count, 1, 1, 1), device=device)
    other = torch.where(
        choice == 0, thick, torch.where(choice == 1, thin * 0.7 + images * 0.3, soft)
    )
    return torch.where(choice < 4, torch.lerp(images, other, strength), images)


def augment(images: Tensor) -> Tensor:
    """Distort uint8 images [N, 28, 28]; returns float32 [N, 28, 28] in 0..255."""
    pixels = warp(images.unsqueeze(1).to(torch.float32))
    pixels = change_strokes(pixels)
    noise = uniform(len(images), -12, 12, images.device).clamp(min=0).view(-1, 1, 1, 1)
    pixels = pixels + torch.randn_like(pixels) * noise
    return pixels.clamp_(0, 255).squeeze(1)
