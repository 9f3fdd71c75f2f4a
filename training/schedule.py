"""What changes from step to step: the learning rate and the strength of the augmentation."""

from recipes import Recipe


def learning_rate(recipe: Recipe, step: int, steps: int) -> float:
    """One cycle, linearly up and down (Smith and Topin 2018, "Super-Convergence")."""
    warm_up = recipe.warm_up * steps
    share = (step + 1) / (warm_up + 1) if step < warm_up else (steps - step) / (steps - warm_up)
    return recipe.peak_learning_rate * share


def distortion(recipe: Recipe, step: int, steps: int) -> float:
    """The strength of the augmentation: milder at the end (He et al. 2019, "Data Augmentation
    Revisited", section 4)."""
    return recipe.last_strength if step >= (1 - recipe.last_share) * steps else 1.0
