"""The HTTP server: a picture in, what it shows out. Routes are in the order of docs/api.md.

Run it with gunicorn, from the root of the repository:
MODEL_PATH=artifacts/model.onnx gunicorn -c inference/gunicorn.conf.py
"""

import os
import platform
from functools import partial
from importlib.metadata import version
from pathlib import Path

import metrics
import numpy as np
from answers import encode_answer, read_options
from classifier import Classifier, Model, classify_batch, classify_in_batches
from flask import Flask, Response, abort, request
from inference_protocol import (
    HEADER_LENGTH,
    MAX_BINARY_BYTES,
    MODEL_NAME,
    SERVER_METADATA,
    decode_inference,
    encode_inference,
    model_metadata,
)
from pictures import read_pictures
from prometheus_client import CONTENT_TYPE_LATEST
from uploads import MAX_REQUEST_BYTES, read_uploads
from vision.reading import read
from vision.whole import read_whole
from web.background import in_background
from web.responses import add_common_behaviour, json_response

OPENAPI = Path(__file__).with_name("openapi.json").read_bytes()
PACKAGES = ("flask", "gevent", "gunicorn", "numpy", "onnxruntime", "pillow")


def create_app(model_path: str | os.PathLike | None = None) -> Flask:
    """Return the WSGI application for the model at `model_path`, by default MODEL_PATH.

    The model need not exist yet: it is loaded when it appears.
    """
    app = Flask(__name__, static_folder="page", static_url_path="/page")
    app.config["MAX_CONTENT_LENGTH"] = MAX_REQUEST_BYTES
    classifier = Classifier(str(model_path or os.environ.get("MODEL_PATH", "/model/model.onnx")))
    classifier.current()
    add_common_behaviour(app)

    def require_model() -> Model:
        return classifier.current() or abort(503, classifier.problem)

    @app.get("/")
    def page() -> Response:
        return app.send_static_file("index.html")

    @app.post("/predict")
    def predict() -> Response:
        model = require_model()
        options = read_options(request.args, model)
        uploads = read_uploads(request)
        classify = partial(classify_batch, model)
        if model.reads_whole:
            readings = read_pictures(uploads, partial(read_whole, classify=classify))
        else:
            read_digits = partial(read, classify=classify, several=options.segment)
            readings = read_pictures(uploads, read_digits)
        probabilities = np.concatenate([reading.probabilities for reading in readings])
        metrics.count_predictions(probabilities)
        metrics.count_rejected(reading.error.reason for reading in readings if reading.error)
        # For the access log.
        request.environ["mnist.predictions"] = "".join(map(str, probabilities.argmax(axis=1)))
        answer = encode_answer(uploads, readings, model, options)
        return json_response(answer)

    @app.get("/healthz")
    def healthz() -> Response:
        return json_response({"status": "ok"})

    @app.get("/readyz")
    def readyz() -> Response:
        return json_response({"status": "ready", "model_version": require_model().version})

    @app.get("/version")
    def show_version() -> Response:
        model = classifier.current()
        server = {"python": platform.python_version()} | {name: version(name) for name in PACKAGES}
        return json_response({"model": model.metadata if model else None, "server": server})

    @app.get("/metrics")
    def show_metrics() -> Response:
        # A port of its own, which a network policy can keep for Prometheus.
        port = request.environ["SERVER_PORT"]
        if port != (os.environ.get("METRICS_PORT") or port):
            abort(404)
        model = classifier.current()
        facts = (model.metadata, model.loaded_at) if model else (None, 0)
        return Response(metrics.render(*facts), content_type=CONTENT_TYPE_LATEST)

    @app.get("/openapi.json")
    def openapi() -> Response:
        return Response(OPENAPI, mimetype="application/json")

    @app.get("/v2")
    def v2_server() -> Response:
        return json_response(SERVER_METADATA)

    @app.get("/v2/health/live")
    def v2_live() -> Response:
        return json_response({"live": True})

    @app.get("/v2/health/ready")
    @app.get(f"/v2/models/{MODEL_NAME}/ready")
    def v2_ready() -> Response:
        require_model()
        return json_response({"ready": True})

    @app.get(f"/v2/models/{MODEL_NAME}")
    def v2_model() -> Response:
        model = classifier.current()
        return json_response(model_metadata(model))

    @app.post(f"/v2/models/{MODEL_NAME}/infer")
    def v2_infer() -> Response:
        model = require_model()
        request.max_content_length = MAX_BINARY_BYTES
        body, header_length = request.get_data(cache=False), request.headers.get(HEADER_LENGTH)
        inference = in_background(decode_inference, body, header_length)
        probabilities = classify_in_batches(model, inference.images)
        # Counting 10,000 predictions would delay other requests.
        in_background(metrics.count_predictions, probabilities)
        content, headers = in_background(encode_inference, inference, model.version, probabilities)
        return Response(content, headers=headers)

    return app
