"""Models of a few kilobytes that tests of the server put in its way, and requests to it.

write_model(path, "aaaaaaaaaaaa") reads two lines: it answers the digit d for a 28x28 picture whose
rows 13 - d and 14 + d are the lightest, so a test can tell which picture was asked about.
"""

import io
import json
import os
import re
from pathlib import Path

import numpy as np
import onnx.parser
from onnx import helper, numpy_helper
from PIL import Image, ImageDraw


def model_bytes(version: str | None, **changes) -> bytes:
    """A model that reads two lines; `changes` break one part of the agreed interface each.

    With reverse=True it answers 9 - d instead of d; metadata={...} is added to its own.
    """
    lines = np.zeros((28, 28, 10), np.float32)
    for digit in range(10):
        answer = 9 - digit if changes.get("reverse") else digit
        lines[[13 - digit, 14 + digit], :, answer] = 1 / 255
    name, kind = changes.get("input", "image"), changes.get("type", "uint8")
    shape = ", ".join(map(str, changes.get("shape", ["N", 28, 28])))
    model = onnx.parser.parse_model(f"""
        <ir_version: 8, opset_import: ["": 17]>
        lines ({kind}[{shape}] {name}) => (float[N, 10] probabilities)
        <int64[2] flat_shape = {{-1, 784}}> {{
            float_image = Cast <to = 1> ({name})
            flat = Reshape (float_image, flat_shape)
            logits = MatMul (flat, lines)
            probabilities = {changes.get("last", "Softmax")} (logits)
        }}""")
    model.graph.initializer.append(numpy_helper.from_array(lines.reshape(784, 10), "lines"))
    if version:
        facts = {"model_version": version, "dataset": changes.get("dataset", "lines")}
        helper.set_model_props(model, facts | changes.get("metadata", {}))
    return model.SerializeToString()


NAMES = [f"class-{digit}" for digit in range(10)]
NAMED = {"classes": json.dumps(NAMES)}


def publish(path: Path, data: bytes) -> None:
    """Replace a file by renaming, as training does."""
    partial = path.with_suffix(".partial")
    partial.write_bytes(data)
    os.replace(partial, path)


def write_model(path: Path, version: str) -> Path:
    """Publish a model of this version."""
    publish(path, model_bytes(version))
    return path


def two_lines(digit: int) -> bytes:
    """A PNG of the picture that stands for `digit`, in MNIST's form, so it passes unchanged."""
    picture = np.zeros((28, 28), np.uint8)
    picture[[13 - digit, 14 + digit], 4:24] = 255
    return encoded(Image.fromarray(picture))


def drawing() -> Image.Image:
    """An L-shaped stroke in black on white, 120x90."""
    image = Image.new("L", (120, 90), "white")
    ImageDraw.Draw(image).line([(40, 15), (40, 70), (75, 70)], fill="black", width=9)
    return image


def encoded(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    """The bytes of a picture file."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def multipart(*files: bytes) -> tuple[bytes, str]:
    """The body and Content-Type of a form with each of `files` as a field `file`: 0.png, 1.png."""
    body = b"".join(
        b'--edge\r\nContent-Disposition: form-data; name="file"; filename="%d.png"\r\n\r\n%s\r\n'
        % (index, data)
        for index, data in enumerate(files)
    )
    return body + b"--edge--\r\n", "multipart/form-data; boundary=edge"


def post(client, *files: bytes, query: str = ""):
    """Send pictures as a form through Flask's test client."""
    body, content_type = multipart(*files)
    return client.post(f"/predict{query}", data=body, content_type=content_type)


def assert_error(response, status: int, pattern: str) -> None:
    """Check status and message of an error response of Flask's test client."""
    assert response.status_code == status, response.text
    assert response.mimetype == "application/json"
    assert list(response.json) == ["error"]
    assert re.search(pattern, response.json["error"]), response.json["error"]
