"""Reads what a published model says about itself, without the slow import of torch.

python training/published.py artifacts/model.onnx     # prints the dataset, nothing if no model
"""

import sys
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError


def published_metadata(path: Path) -> dict[str, str]:
    """The metadata of a published model; empty if there is no readable model."""
    try:
        model = onnx.load(path)
    except (OSError, DecodeError):
        return {}
    return {each.key: each.value for each in model.metadata_props}


def published_dataset(path: Path) -> str | None:
    """The dataset that a published model was trained on; None if there is no readable model."""
    return published_metadata(path).get("dataset")


if __name__ == "__main__":
    print(published_dataset(Path(sys.argv[1])) or "")
