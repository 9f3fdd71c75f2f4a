"""What the benchmarks share: the paths of the project's modules, and Markdown tables.

print(table(["seed", "s"], [["0", "43.1"], ["all", middle([43.1, 42.9], ".1f")]]))
"""

import os
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("inference", "training", "tests", "tests/inference")
sys.path[:0] = [str(ROOT / folder) for folder in FOLDERS]
os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # onnxruntime would send telemetry.


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table whose first column is text and whose others are numbers."""
    lines = [heads, ["---", *["---:"] * (len(heads) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def middle(values: Sequence[float], form: str) -> str:
    """The median, and for several values min and max: 43.0 (42.9 to 43.1)."""
    median = format(statistics.median(values), form)
    if len(values) == 1:
        return median
    return f"{median} ({min(values):{form}} to {max(values):{form}})"
