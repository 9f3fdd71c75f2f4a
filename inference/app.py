"""The HTTP server: a picture of a digit in, the digit out.

Run it with gunicorn, from the repository's root:
MODEL_PATH=artifacts/model.onnx gunicorn -c inference/gunicorn.conf.py
"""

import base64
import hashlib
import io
import json
import os
import platform
import re
import threading
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import numpy as np
from classifier import Classifier, Model, classify
from errors import add_error_handlers
from flask import Flask, Response, abort, request
from image import ImageError, picture_size, read_image
from normalise import segment, to_mnist
from PIL import Image
from uploads import UploadRequest, read_uploads

# A picture of the largest size allowed takes up to 100 MB while it is decoded: one in each worker
# is as many as there are cores, one in each thread would be eight.
one_picture_at_a_time = threading.Lock()


# Confidence is calibrated: below this, more than two answers in five would be wrong.
SURE = 0.6
UNSURE = "The model is not sure: this may be no digit."


class Found(NamedTuple):
    """What was found on one picture: digits uint8 [28, 28], their boxes in a row, warnings."""

    digits: list[np.ndarray]
    boxes: list[list[int]]
    warnings: list[str]


def create_app(model_path: str | None = None) -> Flask:
    """Return the WSGI application for the model at `model_path`, by default MODEL_PATH.

    The model need not be there yet. The page is part of the program: without page.html this
    raises FileNotFoundError.
    """
    app = Flask(__name__, static_folder=None)
    app.request_class = UploadRequest
    path = model_path or os.environ.get("MODEL_PATH", "/model/model.onnx")
    classifier = Classifier(str(path))
    classifier.current()

    add_error_handlers(app)
    app.after_request(add_security_headers)
    app.add_url_rule("/", view_func=page_view(Path(__file__).with_name("page.html")))
    app.add_url_rule("/predict", view_func=predict_view(classifier), methods=["POST"])
    app.add_url_rule("/readyz", view_func=ready_view(classifier))
    app.add_url_rule("/version", view_func=version_view(classifier))

    @app.get("/healthz")
    def healthz() -> Response:
        return json_response({"status": "ok"})

    return app


def predict_view(classifier: Classifier) -> Callable[[], Response]:
    """Return the view of POST /predict."""

    def predict() -> Response:
        model = classifier.current() or abort(503, classifier.problem)
        uploads = read_uploads()
        look, answer = (row_on, row_answer) if asked("segment") else (digit_on, digit_answer)
        found = [look_at(look, name, data, len(uploads)) for name, data in uploads]
        # One forward pass, however many pictures and however many digits on each.
        rows = classify(model, np.stack([digit for each in found for digit in each.digits]))
        ends = np.cumsum([len(each.digits) for each in found])
        answers = [
            answer(model, each, part)
            for each, part in zip(found, np.split(rows, ends[:-1]), strict=True)
        ]
        if len(answers) == 1:
            return json_response(answers[0])
        named = zip(uploads, answers, strict=True)
        return json_response({"predictions": [{"file": name} | a for (name, _), a in named]})

    return predict


def look_at(look: Callable[[bytes], Found], name: str, data: bytes, count: int) -> Found:
    """Return what `look` finds in the bytes; abort with its reason, naming the file if of many."""
    try:
        with one_picture_at_a_time:
            return look(data)
    except ImageError as error:
        abort(error.status, str(error) if count == 1 else f"{name}: {error}")


def digit_on(data: bytes) -> Found:
    """Return the one digit on a picture, and the warnings. Raises ImageError."""
    digit, warnings = to_mnist(read_image(data))
    return Found([digit], [], warnings)


def row_on(data: bytes) -> Found:
    """Return the digits on a picture left to right, and their boxes. Raises ImageError."""
    gray = read_image(data)
    # A large picture was read smaller, and the boxes are wanted in the sender's pixels.
    width, height = picture_size(data)
    scale = np.array([width / gray.shape[1], height / gray.shape[0]] * 2)
    boxes, digits = zip(*segment(gray), strict=True)
    return Found(list(digits), np.rint(np.array(boxes) * scale).astype(int).tolist(), [])


def digit_answer(model: Model, found: Found, rows: np.ndarray) -> dict:
    """Return the answer for a picture of one digit, with what the query string asks for."""
    probabilities = [round(float(p), 6) for p in rows[0]]
    answer = {"prediction": int(rows[0].argmax())}
    if asked("details"):
        answer |= {
            "confidence": max(probabilities),
            "probabilities": probabilities,
            "model_version": model.metadata["model_version"],
            "warnings": found.warnings + ([UNSURE] if max(probabilities) < SURE else []),
        }
    if asked("image"):
        answer["image"] = data_uri(found.digits[0])
    return answer


def row_answer(model: Model, found: Found, rows: np.ndarray) -> dict:
    """Return the answer for a picture of several digits, in reading order."""
    answer = {"predictions": rows.argmax(axis=1).tolist(), "boxes": found.boxes}
    if asked("details"):
        answer["confidences"] = [round(float(p), 6) for p in rows.max(axis=1)]
        answer["model_version"] = model.metadata["model_version"]
    if asked("image"):
        answer["images"] = [data_uri(digit) for digit in found.digits]
    return answer


def asked(option: str) -> bool:
    """Return whether the query string has OPTION=1."""
    return request.args.get(option) == "1"


def data_uri(digit: np.ndarray) -> str:
    """Return uint8 [28, 28] as a PNG in a data: URI."""
    png = io.BytesIO()
    Image.fromarray(digit).save(png, "PNG")
    return "data:image/png;base64," + base64.b64encode(png.getvalue()).decode("ascii")


def ready_view(classifier: Classifier) -> Callable[[], Response]:
    """Return the view of GET /readyz: 200 with a model, 503 and what to do without."""

    def readyz() -> Response:
        model = classifier.current() or abort(503, classifier.problem)
        return json_response({"status": "ready", "model_version": model.metadata["model_version"]})

    return readyz


def version_view(classifier: Classifier) -> Callable[[], Response]:
    """Return the view of GET /version: the model's metadata, null without one, and the server's."""
    packages = ("flask", "gunicorn", "numpy", "onnxruntime", "pillow")
    server = {"python": platform.python_version()} | {name: version(name) for name in packages}

    def show_version() -> Response:
        model = classifier.current()
        return json_response({"model": model.metadata if model else None, "server": server})

    return show_version


def page_view(path: Path) -> Callable[[], Response]:
    """Return the view of GET /: the page, and a policy that allows its own blocks and no others."""
    page = path.read_text(encoding="utf-8")
    headers = {"Content-Security-Policy": content_security_policy(page)}

    def index() -> Response:
        return Response(page, mimetype="text/html", headers=headers)

    return index


def content_security_policy(page: str) -> str:
    """Return a policy with the hash of each inline script and style (CSP Level 3, 2.3.1)."""

    def sources(tag: str) -> str:
        blocks = re.findall(rf"<{tag}\b[^>]*>(.*?)</{tag}>", page, re.DOTALL | re.IGNORECASE)
        digests = [hashlib.sha256(block.encode()).digest() for block in blocks]
        return " ".join(f"'sha256-{base64.b64encode(d).decode()}'" for d in digests) or "'none'"

    return (
        f"default-src 'none'; script-src {sources('script')}; style-src {sources('style')}; "
        "img-src 'self' data: blob:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


def json_response(content: dict) -> Response:
    """Return `content` as JSON written as in the README, {"prediction": 7}, and a line's end."""
    return Response(json.dumps(content) + "\n", mimetype="application/json")


def add_security_headers(response: Response) -> Response:
    """Keep browsers from guessing types and from telling others where they were."""
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Referrer-Policy"] = "no-referrer"
    return response
