"""The command line of train.py; every option except --dry-run is also an environment variable."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import click
import dataset
from recipes import RECIPES

ROOT = Path(__file__).resolve().parent.parent
MIN_ACCURACY = {"mnist": 0.98, "synthetic": 0.95}  # on the held-out images

folder = click.Path(path_type=Path, file_okay=False)
setting = partial(click.option, show_envvar=True, show_default=True)
OPTIONS = (
    setting("--dataset", envvar="DATASET", type=click.Choice(dataset.NAMES), default="mnist"),
    setting("--recipe", envvar="RECIPE", type=click.Choice(tuple(RECIPES)), default="default"),
    setting("--data-dir", envvar="DATA_DIR", type=folder, default=ROOT / "data" / "mnist"),
    setting("--output-dir", envvar="OUTPUT_DIR", type=folder, default=ROOT / "artifacts"),
    setting(
        "--corrections",
        envvar="CORRECTIONS",
        type=click.Path(exists=True, path_type=Path),
        multiple=True,
        help="corrections from the page: a tar file, a zip file or a folder; can be repeated. "
        "Those in DATA_DIR/corrections are always used",
    ),
    setting(
        "--epochs",
        envvar="EPOCHS",
        type=click.IntRange(min=1),
        help="default: as many as the recipe has",
    ),
    setting("--seed", envvar="SEED", type=click.IntRange(0, (1 << 30) - 1), default=0),
    setting(
        "--min-accuracy",
        envvar="MIN_ACCURACY",
        type=click.FloatRange(0, 1),
        help=f"needed on the held-out images to publish; default {MIN_ACCURACY}",
    ),
    setting(
        "--replace",
        envvar="REPLACE",
        is_flag=True,
        help="let synthetic digits replace an MNIST model",
    ),
    click.option("--dry-run", is_flag=True, help="train a few steps and keep nothing"),
)


def command(description: str) -> Callable[[Callable], click.Command]:
    """A decorator that makes a function a click command with the options of train.py."""

    def decorate(function: Callable) -> click.Command:
        for option in reversed(OPTIONS):
            function = option(function)
        return click.command(help=description.replace("\n\n", "\n\n\b\n"))(function)

    return decorate


def resolve(values: dict[str, object]) -> SimpleNamespace:
    """The options as attributes; `recipe` is the Recipe itself and has the number of epochs."""
    options = SimpleNamespace(**values)
    options.recipe_name, options.recipe = options.recipe, RECIPES[options.recipe]
    if options.epochs is not None:
        options.recipe = options.recipe._replace(epochs=options.epochs)
    if options.min_accuracy is None:
        options.min_accuracy = MIN_ACCURACY[options.dataset]
    return options
