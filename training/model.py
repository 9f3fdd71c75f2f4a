"""The network and its optimizer, and the recipes that decide how they are trained."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

MEAN, STD = 0.1307, 0.3081  # of MNIST's training pixels, scaled to 0..1
MARGIN = 2  # pixels on each side that the network does not see: MNIST's box leaves 4
MOMENTUM, WEIGHT_DECAY = 0.9, 5e-4
WARM_UP = 0.25  # share of all steps
LAST_SHARE = 0.25  # share of all steps, to which a recipe's last_* fields apply


class Recipe(NamedTuple):
    """The network, the optimisation and the augmentation of a training run.

    All fields are part of a checkpoint's identity and of the published model's metadata.
    """

    channels: tuple[int, int, int] = (16, 32, 48)  # first layer, other layers at 12x12, at 6x6
    epochs: int = 4
    batch: int = 128
    peak_learning_rate: float = 0.5
    label_smoothing: float = 0.02
    drawn_digits: int = 48  # added to every batch
    non_digits: int = 24  # added to every batch
    # The largest distortions of an image; see augment.py.
    rotation: float = 15  # degrees
    shear: float = 0.2
    scale: float = 0.12
    shift: float = 2  # pixels
    elastic: float = 0.8  # pixels, standard deviation of a control point
    noise: float = 12  # of 255
    strokes: float = 0.25  # share of a batch whose strokes are thickened, thinned or blurred
    mirrored: float = 0  # share of a batch that is mirrored left to right
    # In the last steps:
    last_strength: float = 0.6  # of the distortions of the shape, 1 in the steps before
    last_drawn_digits: int = 16  # instead of drawn_digits


RECIPES = {
    "default": Recipe(),
    "patient": Recipe(channels=(32, 64, 96), epochs=16, non_digits=36, rotation=20),
    # The default recipe with a wider first layer, and without all that is about handwriting.
    "garments": Recipe(
        channels=(32, 32, 48),
        **dict.fromkeys(("drawn_digits", "last_drawn_digits", "non_digits"), 0),
        **dict.fromkeys(("rotation", "shear", "scale", "elastic", "noise", "strokes"), 0),
        mirrored=0.5,
    ),
}


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
    (16, 32, 48) makes 53,000 parameters.
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


@torch.no_grad()
def logits_of(network: nn.Module, images: Tensor) -> Tensor:
    """Logits float32 [N, 10] for uint8 images [N, 28, 28]."""
    return torch.cat([network(normalise(part)) for part in images.split(1000)])


def build(recipe: Recipe, seed: int, device: torch.device) -> tuple[nn.Module, torch.optim.SGD]:
    """A network with the initial weights of this seed, and its optimizer."""
    torch.manual_seed(seed)
    network = build_network(recipe.channels).to(device, memory_format=torch.channels_last)
    return network, torch.optim.SGD(
        network.parameters(),
        lr=recipe.peak_learning_rate,
        momentum=MOMENTUM,
        weight_decay=WEIGHT_DECAY,
        nesterov=True,
    )


def learning_rate(recipe: Recipe, step: int, steps: int) -> float:
    """One cycle, linearly up and down (Smith and Topin 2018, "Super-Convergence")."""
    warm_up = WARM_UP * steps
    share = (step + 1) / (warm_up + 1) if step < warm_up else (steps - step) / (steps - warm_up)
    return recipe.peak_learning_rate * share


def schedule(recipe: Recipe, step: int, steps: int) -> tuple[float, int]:
    """The strength of a step's distortions, and how many drawn digits are added to its batch.

    At the end the images are closer to MNIST's (He et al. 2019, "Data Augmentation Revisited",
    section 4).
    """
    if step >= (1 - LAST_SHARE) * steps:
        return recipe.last_strength, recipe.last_drawn_digits
    return 1.0, recipe.drawn_digits


def autocast(device: torch.device) -> torch.autocast:
    """bfloat16 where the hardware multiplies it; elsewhere it would make training slower."""
    if device.type == "cuda":
        fast = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        able = torch.cpu.get_capabilities()
        fast = any(able.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16"))
    return torch.autocast(device.type, torch.bfloat16, enabled=fast)
