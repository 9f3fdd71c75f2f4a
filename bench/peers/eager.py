"""The work of POST /predict with the trained weights in eager PyTorch, for the other servers.

predict = load_predictor()   predict(data)   # 7
"""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / folder) for folder in ("inference", "training", "tests")]
from model import build_network, normalise
from publish import published_metadata
from vision.gray import decode
from vision.image import open_image
from vision.reading import read


def load_predictor() -> Callable[[bytes], int]:
    """Return a function that reads the digit on an uploaded picture.

    The weights are mnist_cnn.pt next to MODEL_PATH.
    """
    torch.set_num_threads(1)
    path = Path(os.environ["MODEL_PATH"])
    network = build_network(json.loads(published_metadata(path)["recipe"])["channels"])
    path = path.with_name("mnist_cnn.pt")
    network.load_state_dict(torch.load(path, weights_only=True)["network"])
    network.eval()

    @torch.inference_mode()
    def classify(images: np.ndarray) -> np.ndarray:
        return network(normalise(torch.from_numpy(images))).softmax(dim=1).numpy()

    def predict(data: bytes) -> int:
        reading = read(decode(open_image(data)).gray, classify)
        return int(reading.probabilities[0].argmax())

    return predict
