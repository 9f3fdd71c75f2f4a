"""The convolutional network: uint8 pixels in, ten logits out, about 58,000 parameters."""

import torch
from torch import Tensor, nn

MEAN, STD = 0.1307, 0.3081  # of MNIST's training pixels, scaled to 0..1


def convolution(inputs: int, outputs: int, size: int = 3, stride: int = 1) -> list[nn.Module]:
    """Convolution, batch normalisation (Ioffe and Szegedy 2015), ReLU."""
    return [
        nn.Conv2d(inputs, outputs, size, stride, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    ]


def build_network() -> nn.Sequential:
    """Float [N, 1, 28, 28] (normalised) to logits [N, 10]; weights as PyTorch initialises them."""
    return nn.Sequential(
        *convolution(1, 32, size=4, stride=2),  # 14x14 from here on: half the time, as accurate
        *convolution(32, 32),
        *convolution(32, 32),
        nn.MaxPool2d(2),
        *convolution(32, 48),
        *convolution(48, 48),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(48 * 3 * 3, 10),
    )


def normalise(images: Tensor) -> Tensor:
    """Pixels 0..255 of any dtype, [N, 28, 28], to float32 [N, 1, 28, 28], mean 0, variance 1."""
    return ((images.to(torch.float32) / 255 - MEAN) / STD).unsqueeze(1)
