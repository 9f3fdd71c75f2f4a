"""The model file: published by training, missing, replaced, broken, unreadable."""

import json
import logging
import os
import re
import resource
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import classifier
import pytest
from app import create_app
from classifier import Classifier
from gunicorn_server import running_tiny
from soak import FIRST, SECOND, replace_under_load
from tiny_model import (
    NAMES,
    assert_error,
    model_bytes,
    post,
    publish,
    two_lines,
    write_model,
)

MISSING = "no model at .*model.onnx.*Train one"


@pytest.fixture
def own(model_path):
    """A Classifier that has loaded its model."""
    own = Classifier(str(model_path))
    assert own.current().version == FIRST
    return own


def test_a_server_without_a_model_is_alive_says_once_what_to_do_and_serves_it_when_it_appears(
    tmp_path, caplog
):
    client = create_app(tmp_path / "model.onnx").test_client()
    assert client.get("/healthz").json == {"status": "ok"}
    assert client.get("/version").json["model"] is None
    assert client.get("/v2/models/mnist").json["versions"] == []
    for path in ("/readyz", "/v2/health/ready", "/v2/models/mnist/ready"):
        assert_error(client.get(path), 503, MISSING)
    assert_error(post(client, two_lines(1)), 503, MISSING)
    assert_error(client.post("/v2/models/mnist/infer"), 503, MISSING)
    assert len(re.findall(MISSING, caplog.text)) == 1
    write_model(tmp_path / "model.onnx", FIRST)
    assert client.get("/readyz").json == {"status": "ready", "model_version": FIRST}
    assert post(client, two_lines(8)).json == {"prediction": 8}


def test_the_model_is_loaded_before_the_first_request(model_path, caplog):
    caplog.set_level(logging.INFO)
    create_app(model_path)
    assert f"serving model {FIRST}" in caplog.text


def test_replacing_the_model_under_load_mixes_no_versions_and_leaks_nothing(model_path, tmp_path):
    # Without limits, OpenBLAS would start as many threads as OMP_NUM_THREADS says.
    with running_tiny(tmp_path, WEB_CONCURRENCY="2", OMP_NUM_THREADS="4") as server:
        outcomes, before, after = replace_under_load(server, model_path, 40, 500)
        log = server.read_log()
        assert len(server.workers()) == 2
    assert set(outcomes) == {"ok"}
    for first, last in zip(before, after, strict=True):
        assert last.files <= first.files + 4
        assert last.threads <= 2, "one for connections, one for pictures"
        assert last.megabytes < first.megabytes + 25
    assert "Traceback" not in log
    assert set(re.findall(r"serving model (\w+)", log)) == {FIRST, SECOND}


@pytest.mark.parametrize(
    ("data", "pattern"),
    [
        (b"", "cannot load"),
        (model_bytes(SECOND)[:-200], "cannot load"),
        (model_bytes(SECOND, input="picture"), "must be image"),
        (model_bytes(SECOND, type="float"), "must be image tensor.uint8."),
        (model_bytes(SECOND, shape=["N", 1, 784]), r"\['N', 28, 28\]"),
        (model_bytes(SECOND, shape=[1, 28, 28]), r"\['N', 28, 28\]"),
        (model_bytes(SECOND, last="Identity"), "not probabilities"),
        (model_bytes(None), "model_version"),
        (model_bytes(SECOND, metadata={"reading": "picture"}), "digit or whole, not 'picture'"),
        *(
            (model_bytes(SECOND, metadata={"classes": text}), "list of ten different names")
            for text in (
                *(json.dumps(names) for names in (NAMES + NAMES[:1], NAMES[:9] + NAMES[:1])),
                *("names", "10", "[0]"),
            )
        ),
    ],
    ids=[
        "empty", "cut off", "name", "type", "shape", "fixed batch", "no softmax", "no version",
        "reading", "eleven classes", "twice", "no JSON", "number", "no names",
    ],
)  # fmt: skip
def test_a_broken_model_is_rejected_with_the_reason_and_the_old_one_goes_on_serving(
    client, model_path, caplog, data, pattern
):
    model_path.write_bytes(data)
    assert client.get("/readyz").json["model_version"] == FIRST
    assert post(client, two_lines(6)).json == {"prediction": 6}
    caplog.clear()
    started_with_it = create_app(model_path).test_client()
    for _ in range(3):
        assert_error(started_with_it.get("/readyz"), 503, f"rejected.*{pattern}.*Train it again")
    assert len([line for line in caplog.records if line.levelno == logging.ERROR]) == 1
    write_model(model_path, SECOND)
    assert started_with_it.get("/readyz").json["model_version"] == SECOND


def test_a_change_of_the_dataset_is_logged(own, model_path, caplog):
    publish(model_path, model_bytes(SECOND))
    assert own.current().version == SECOND
    assert "dataset" not in caplog.text, "of a new model of the same one"
    publish(model_path, model_bytes(FIRST, dataset="shapes"))
    assert own.current().version == FIRST
    assert "the dataset has changed from lines to shapes" in caplog.text


def test_a_read_error_is_not_remembered_as_a_rejection(model_path):
    own = Classifier(str(model_path))
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, limits[1]))
        assert own.current() is None
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert "Too many open files" in own.problem
    assert own.current().version == FIRST
    assert own.problem == ""


def test_a_problem_that_has_passed_is_not_reported_again(own, model_path, tmp_path):
    """A model that disappears and comes back is the same one, with no problem."""
    model_path.rename(tmp_path / "away")
    assert own.current().version == FIRST
    assert "There is no model" in own.problem
    (tmp_path / "away").rename(model_path)
    assert own.current().version == FIRST
    assert own.problem == ""


@pytest.mark.parametrize("in_place", [True, False])
def test_a_model_with_the_same_modification_time_is_loaded_too(own, model_path, in_place):
    status = model_path.stat()
    if in_place:
        model_path.write_bytes(model_bytes(SECOND))
    else:
        publish(model_path, model_bytes(SECOND))
    os.utime(model_path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert own.current().version == SECOND


def test_a_model_that_is_written_while_it_is_read_is_read_again(model_path, monkeypatch):
    own, read_model = Classifier(str(model_path)), classifier.read_model

    def replace_and_read(data):
        if FIRST.encode() in data:
            model_path.write_bytes(model_bytes(SECOND))
        return read_model(data)

    monkeypatch.setattr(classifier, "read_model", replace_and_read)
    own.current()
    assert own.current().version == SECOND


def test_threads_that_notice_a_new_model_together_load_it_once(model_path, monkeypatch):
    own, read_model, loads = Classifier(str(model_path)), classifier.read_model, []
    together = threading.Barrier(8)

    def read_slowly(data):
        loads.append(1)
        time.sleep(0.2)
        return read_model(data)

    def ask(_):
        together.wait()
        return own.current().version

    monkeypatch.setattr(classifier, "read_model", read_slowly)
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(ask, range(8))) == {FIRST}
    assert len(loads) == 1
