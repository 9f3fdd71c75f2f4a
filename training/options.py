"""The command line of train.py: each option is also an environment variable of the same name."""

from pathlib import Path
from typing import NamedTuple

import click
from dataset import DATASETS
from model import RECIPES, Recipe

ROOT = Path(__file__).resolve().parent.parent
FOLDER = click.Path(path_type=Path, file_okay=False)


def setting(name: str, **details: object) -> click.Option:
    """An option that is also an environment variable."""
    variable = name[2:].replace("-", "_").upper()
    return click.Option([name], envvar=variable, show_envvar=True, show_default=True, **details)


SETTINGS = [
    setting("--dataset", type=click.Choice(tuple(DATASETS)), default="mnist"),
    setting("--recipe", type=click.Choice(tuple(RECIPES)), help="default: the dataset's first one"),
    setting("--data-dir", type=FOLDER, help="default: the dataset's folder in data/"),
    setting("--output-dir", type=FOLDER, default=ROOT / "artifacts"),
    setting(
        "--corrections",
        type=click.Path(exists=True, path_type=Path),
        multiple=True,
        help="corrections from the page: a tar file, a zip file or a folder; can be repeated. "
        "Those in DATA_DIR/corrections are always used",
    ),
    setting("--epochs", type=click.IntRange(min=1), help="default: as many as the recipe has"),
    setting("--seed", type=click.IntRange(0, (1 << 30) - 1), default=0),
    setting(
        "--min-accuracy",
        type=click.FloatRange(0, 1),
        help="needed on the held-out images to publish; default: "
        + ", ".join(f"{source.min_accuracy} for {name}" for name, source in DATASETS.items()),
    ),
    setting(
        "--replace",
        is_flag=True,
        help="publish even if the model is clearly worse than the one that it replaces, or if that "
        "one was trained on another dataset",
    ),
    setting("--previous", is_flag=True, help="do not train: serve the model replaced last again"),
    click.Option(["--dry-run"], is_flag=True, help="train a few steps and keep nothing"),
]


class Options(NamedTuple):
    """What to train and where to publish it."""

    dataset: str
    recipe_name: str
    recipe: Recipe
    seed: int
    data_dir: Path
    corrections: tuple[Path, ...]
    output_dir: Path
    min_accuracy: float  # on the held-out images
    replace: bool
    dry_run: bool


def complete(
    dataset: str,
    recipe: str | None,
    epochs: int | None,
    data_dir: Path | None,
    min_accuracy: float | None,
    **others: object,
) -> Options:
    """The options, with the dataset's defaults for those not given; raises UsageError."""
    source = DATASETS[dataset]
    name = recipe or source.recipes[0]
    if name not in source.recipes:
        fitting = " or ".join(source.recipes)
        raise click.UsageError(f"the recipe {name} does not fit {dataset}: use {fitting}")
    return Options(
        dataset=dataset,
        recipe_name=name,
        recipe=RECIPES[name]._replace(epochs=epochs or RECIPES[name].epochs),
        data_dir=data_dir or ROOT / "data" / source.folder,
        min_accuracy=source.min_accuracy if min_accuracy is None else min_accuracy,
        **others,
    )
