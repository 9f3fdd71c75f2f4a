"""The convolutional network: normalised pixels in, ten logits out."""

import torch
from torch import Tensor, nn

MEAN, STD = 0.1307, 0.3081  # of MNIST's training pixels, scaled to 0..1
MARGIN = 2  # pixels on each side that the network does not look at: MNIST's box leaves 4


def convolution(inputs: int, outputs: int, size: int = 3, stride: int = 1) -> list[nn.Module]:
    """Convolution, batch normalisation (Ioffe and Szegedy 2015), ReLU."""
    return [
        nn.Conv2d(inputs, outputs, size, stride, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    ]


def build_network(channels: tuple[int, int, int]) -> nn.Sequential:
    """Float [N, 1, 24, 24] (normalised) to logits [N, 10]; weights as PyTorch initialises them.

    `channels` are the widths of the first layer, of the others at 12x12, and of those at 6x6:
    (32, 32, 48) makes 58,000 parameters.
    """
    first, middle, last = channels
    return nn.Sequential(
        *convolution(1, first, size=4, stride=2),  # 12x12 from here on: half the time, as accurate
        *convolution(first, middle),
        *convolution(middle, middle),
        nn.MaxPool2d(2),
        *convolution(middle, last),
        *convolution(last, last),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(last * 3 * 3, 10),
    )


def normalise(images: Tensor) -> Tensor:
    """Pixels 0..255 of any dtype, [N, 28, 28], to float32 [N, 1, 24, 24], mean 0, variance 1."""
    inner = images[:, MARGIN:-MARGIN, MARGIN:-MARGIN]
    return ((inner.to(torch.float32) / 255 - MEAN) / STD).unsqueeze(1)
