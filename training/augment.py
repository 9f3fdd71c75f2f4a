"""Random distortions of a batch of images, on tensors: what handwriting and cameras vary.

Affine and elastic distortion follow Simard, Steinkraus and Platt 2003, "Best Practices for
Convolutional Neural Networks Applied to Visual Document Analysis", section 2.
"""

import math
from functools import cache

import torch
import torch.nn.functional as F
from model import Recipe
from torch import Tensor

HALF = 14  # pixels: grid_sample's coordinates go from -1 to 1
ELASTIC_POINTS = 5


def warp(images: Tensor, recipe: Recipe, strength: float) -> Tensor:
    """Rotate, shear, scale, shift and bend each of the float images [N, 1, 28, 28] at random."""
    count, device = len(images), images.device

    def vary(limit: float) -> Tensor:
        return strength * torch.empty(count, device=device).uniform_(-limit, limit)

    angle, shear = vary(math.radians(recipe.rotation)), vary(recipe.shear)
    x, y = vary(recipe.shift / HALF), vary(recipe.shift / HALF)
    width, height = 1 + vary(recipe.scale), 1 + vary(recipe.scale)
    cos, sin = angle.cos(), angle.sin()
    rows = [cos / width, (shear * cos - sin) / width, x, sin / height, (shear * sin + cos) / height]
    theta = torch.stack([*rows, y], dim=1).view(count, 2, 3)
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    points = torch.randn(count, 2, ELASTIC_POINTS, ELASTIC_POINTS, device=device)
    spread = cubic_spread(images.shape[-1]).to(device)
    bend = strength * (recipe.elastic / HALF) * (spread @ points @ spread.T)
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
    return torch.lerp(images, changed, torch.rand(len(images), 1, 1, 1, device=images.device))


def augment(images: Tensor, recipe: Recipe, strength: float = 1.0) -> Tensor:
    """Distort uint8 images [N, 28, 28]; returns float32 [N, 28, 28] in 0..255.

    `strength` scales the distortions of the shape: 0 leaves it as it is.
    """
    pixels = warp(images.unsqueeze(1).to(torch.float32), recipe, strength)
    chosen = torch.randperm(len(images), device=images.device)[: int(len(images) * recipe.strokes)]
    pixels[chosen] = change_strokes(pixels[chosen])
    if recipe.mirrored:
        mirrored = torch.rand(len(images), device=images.device) < recipe.mirrored
        pixels[mirrored] = pixels[mirrored].flip(-1)
    noise = torch.empty(len(images), 1, 1, 1, device=images.device)
    noise.uniform_(-recipe.noise, recipe.noise)
    pixels = pixels + torch.randn_like(pixels) * noise.clamp(min=0)  # half get none
    return pixels.clamp_(0, 255).squeeze(1)
