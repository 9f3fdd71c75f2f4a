"""The model file is replaced, broken or unreadable while the server serves."""

import os
import re
import resource
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import classifier
import pytest
from classifier import Classifier
from gunicorn_server import running, write_config
from soak import FIRST, SECOND, publish, replace_under_load, usage
from tiny_model import band, model_bytes, multipart, write_model


@pytest.fixture
def server(tmp_path):
    model = write_model(tmp_path / "model.onnx", FIRST)
    config = write_config(tmp_path, "gunicorn_worker.LINGER_SECONDS = 0")
    # Without limits, OpenBLAS would start this many threads.
    environment = {"MODEL_PATH": str(model), "OMP_NUM_THREADS": "4"}
    with running(tmp_path, "-c", config, **environment) as server:
        yield server


def test_replacing_the_model_under_load_mixes_no_versions_and_leaks_nothing(server, tmp_path):
    outcomes, before, after = replace_under_load(server, tmp_path / "model.onnx", 60, 1500)
    assert set(outcomes) == {"ok"}
    assert len(server.workers()) == 2
    for first, last in zip(before, after, strict=True):
        assert last.files <= first.files + 4
        assert last.threads <= 2  # one for connections, one for pictures
        assert last.megabytes < first.megabytes + 25
    assert "Traceback" not in server.read_log()
    versions = re.findall(r"serving model (\w+)", server.read_log())
    assert set(versions) == {FIRST, SECOND}


def test_a_worker_has_one_thread_for_connections_and_one_for_pictures(server):
    for _ in range(20):
        assert server.ask("POST", "/predict", *multipart(*[band(1)] * 12))[0] == 200
    assert max(each.threads for each in usage(server)) == 2


def test_a_server_started_without_a_model_serves_it_when_it_appears(tmp_path):
    model = tmp_path / "model.onnx"
    with running(tmp_path, MODEL_PATH=str(model)) as server:
        assert server.ask("GET", "/readyz")[0] == 503
        assert server.ask("POST", "/predict", *multipart(band(8)))[0] == 503
        lines = [line for line in server.read_log().splitlines() if "There is no model at" in line]
        workers = [re.search(r"\] \[(\d+)\]", line)[1] for line in lines]
        assert workers, "the log says why"
        assert len(set(workers)) == len(workers), "each worker once, not on each request"
        write_model(model, FIRST)
        assert server.ask("GET", "/readyz") == (200, {"status": "ready", "model_version": FIRST})
        assert server.ask("POST", "/predict", *multipart(band(8))) == (200, {"prediction": 8})


def test_a_read_error_is_not_remembered_as_a_rejection(tmp_path):
    model = write_model(tmp_path / "model.onnx", FIRST)
    own = Classifier(str(model))
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, limits[1]))
        assert own.current() is None
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert "Too many open files" in own.problem
    assert own.current().version == FIRST
    assert own.problem == ""


def test_a_problem_that_has_passed_is_not_reported_again(tmp_path):
    """A model that disappears and comes back is the same one, with no problem."""
    model = write_model(tmp_path / "model.onnx", FIRST)
    own = Classifier(str(model))
    own.current()
    model.rename(tmp_path / "away")
    assert own.current().version == FIRST
    assert "There is no model" in own.problem
    (tmp_path / "away").rename(model)
    assert own.current().version == FIRST
    assert own.problem == ""


@pytest.mark.parametrize("in_place", [True, False])
def test_a_model_with_the_same_modification_time_is_loaded_too(tmp_path, in_place):
    model = write_model(tmp_path / "model.onnx", FIRST)
    own = Classifier(str(model))
    assert own.current().version == FIRST
    status = model.stat()
    if in_place:
        model.write_bytes(model_bytes(SECOND))
    else:
        publish(model, model_bytes(SECOND))
    os.utime(model, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert own.current().version == SECOND


def test_a_model_that_is_written_while_it_is_read_is_read_again(tmp_path, monkeypatch):
    model = write_model(tmp_path / "model.onnx", FIRST)
    own, read_model = Classifier(str(model)), classifier.read_model

    def replace_and_read(data):
        if b"aaaaaaaaaaaa" in data:
            model.write_bytes(model_bytes(SECOND))
        return read_model(data)

    monkeypatch.setattr(classifier, "read_model", replace_and_read)
    own.current()
    assert own.current().version == SECOND


def test_threads_that_notice_a_new_model_together_load_it_once(tmp_path, monkeypatch):
    model = write_model(tmp_path / "model.onnx", FIRST)
    own, read_model, loads = Classifier(str(model)), classifier.read_model, []
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
