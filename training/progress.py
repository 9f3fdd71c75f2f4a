"""What a run reports while it trains: the progress bar, a line for each epoch, metrics.jsonl."""

import json
import sys
from types import SimpleNamespace

from distributed import rank
from files import write_atomically
from tqdm import tqdm


def progress_bar(first: int, steps: int) -> tqdm:
    """A progress bar over the steps, on a terminal only."""
    return tqdm(total=steps, initial=first, unit="step", disable=not sys.stdout.isatty())


def record(
    history: list[dict[str, float]],
    values: tuple[int, float, float, float],
    seconds: float,
    options: SimpleNamespace,
) -> None:
    """Add an epoch's metrics to the history, print them, write metrics.jsonl; raises OSError.

    Only rank 0 does so.
    """
    if rank() > 0:
        return
    names = ("epoch", "held_out_accuracy", "loss", "learning_rate")
    metrics = {name: round(value, 5) for name, value in zip(names, values, strict=True)}
    history.append({**metrics, "seconds": round(seconds, 1)})
    epoch, accuracy, loss, _ = values
    tqdm.write(
        f"epoch {epoch}/{options.recipe.epochs}  held-out accuracy {accuracy:.2%}  "
        f"loss {loss:.3f}  {seconds:.1f} s"
    )
    sys.stdout.flush()
    lines = "".join(json.dumps(line) + "\n" for line in history)
    write_atomically(options.output_dir / "metrics.jsonl", lines.encode())
