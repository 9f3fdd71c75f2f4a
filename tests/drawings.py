"""What the tests of the server send and check: a small drawing in any mode, and errors."""

import base64
import io
import re

import numpy as np
from PIL import Image, ImageDraw
from tiny_model import multipart


def drawing(mode: str = "RGB", ink="black", background="white") -> Image.Image:
    """An L-shaped stroke on 120x90: turned or mirrored, it is a different picture."""
    image = Image.new(mode, (120, 90), background)
    ImageDraw.Draw(image).line([(40, 15), (40, 70), (75, 70)], fill=ink, width=9)
    return image


def post(client, *files: bytes, query: str = ""):
    """Send pictures as a form through Flask's test client."""
    body, content_type = multipart(*files)
    return client.post(f"/predict{query}", data=body, content_type=content_type)


def seen_by_model(client, data: bytes) -> np.ndarray:
    """What the model saw of an upload, as int [28, 28]."""
    response = post(client, data, query="?image=1")
    assert response.status_code == 200, response.json
    png = base64.b64decode(response.json["image"].removeprefix("data:image/png;base64,"))
    return np.asarray(Image.open(io.BytesIO(png))).astype(int)


def assert_error(response, status: int, pattern: str) -> None:
    """Check status and message of an error response."""
    assert response.status_code == status, response.text
    assert response.mimetype == "application/json"
    assert list(response.json) == ["error"]
    assert re.search(pattern, response.json["error"]), response.json["error"]
