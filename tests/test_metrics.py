"""GET /metrics of a real server with two workers, whose counts are added up."""

import os
import re
import signal
from contextlib import closing
from pathlib import Path

import pytest
from gunicorn_server import running
from ports import free_port
from prometheus_client.parser import text_string_to_metric_families
from tiny_model import band, multipart, write_model

VERSION = "aaaaaaaaaaaa"


def scrape(server, port=None):
    """Return the samples of /metrics as {(name, label values by label name): value}."""
    with closing(server._replace(port=port or server.port).connect()) as connection:
        connection.request("GET", "/metrics")
        response = connection.getresponse()
        assert response.status == 200
        assert response.getheader("Content-Type").startswith("text/plain")
        text = response.read().decode()
    return {
        (sample.name, *(sample.labels[name] for name in sorted(sample.labels))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


@pytest.fixture
def folder(tmp_path):
    """A folder with a model, and a metrics folder with the counts of an earlier server."""
    write_model(tmp_path / "model.onnx", VERSION)
    (tmp_path / "metrics").mkdir()
    (tmp_path / "metrics" / "counter_1.db").write_bytes(b"not a valid file")
    return tmp_path


def start(folder, **environment):
    variables = {
        "MODEL_PATH": folder / "model.onnx",
        "PROMETHEUS_MULTIPROC_DIR": folder / "metrics",
    }
    return running(folder, **{name: str(path) for name, path in variables.items()}, **environment)


def predict(server, digit, times):
    for _ in range(times):
        assert server.ask("POST", "/predict", band(digit), "image/png")[0] == 200


def worker_files(folder):
    return {int(re.search(r"_(\d+)\.db", path.name)[1]) for path in folder.glob("*.db")}


def test_all_metrics_are_counted_over_both_workers(folder):
    with start(folder) as server:
        predict(server, 7, 20)
        predict(server, 0, 3)
        server.ask("POST", "/predict", *multipart(band(1), b"", b"hello"))
        server.ask("POST", "/predict", b"\x89PNG\r\n\x1a\n", "image/png")
        server.wait_until(lambda: scrape(server)["mnist_model_loads_total",] == 2)
        (folder / "model.onnx").write_bytes(b"not a model")
        server.wait_until(lambda: reject_in_both_workers(server))
        found = scrape(server)
    assert found["mnist_http_requests_total", "/predict", "200"] == 24
    assert found["mnist_http_requests_total", "/predict", "422"] == 1
    assert found["mnist_http_request_duration_seconds_count", "/predict"] == 25
    assert found["mnist_http_request_duration_seconds_bucket", "+Inf", "/predict"] == 25
    assert found["mnist_http_request_duration_seconds_sum", "/predict"] > 0
    counts = {digit: found["mnist_predictions_total", str(digit)] for digit in range(10)}
    assert counts == dict.fromkeys(range(10), 0) | {7: 20, 0: 3, 1: 1}
    assert found["mnist_prediction_confidence_count",] == 24
    assert found["mnist_rejected_inputs_total", "empty"] == 1
    assert found["mnist_rejected_inputs_total", "unknown_format"] == 1
    assert found["mnist_rejected_inputs_total", "damaged"] == 1
    assert found["mnist_model_loads_total",] == 2
    assert found["mnist_model_rejections_total",] == 2
    assert found["mnist_model_ready",] == 1
    assert found["mnist_model_info", "bands", VERSION, ""] == 1
    assert found["mnist_model_loaded_timestamp_seconds",] > folder.stat().st_ctime - 60


def reject_in_both_workers(server):
    server.ask("GET", "/readyz")
    return scrape(server)["mnist_model_rejections_total",] == 2


def test_counts_outlive_a_worker_that_is_killed(folder):
    with start(folder) as server:
        predict(server, 4, 20)
        for pid in server.workers():
            os.kill(pid, signal.SIGKILL)
        server.wait_until(lambda: len(server.workers()) == 4)
        predict(server, 4, 5)
        assert scrape(server)["mnist_predictions_total", "4"] == 25


def test_the_folder_is_emptied_at_the_start_and_removed_at_the_end(folder):
    with start(folder) as server:
        assert worker_files(folder / "metrics") == set(server.workers())
    assert not (folder / "metrics").exists()


def test_the_folder_chosen_by_the_server_is_removed_at_the_end(tmp_path):
    with running(tmp_path, MODEL_PATH=str(tmp_path / "none.onnx")) as server:
        environment = Path(f"/proc/{server.workers()[0]}/maps").read_text()
        (chosen,) = set(re.findall(r"/\S*mnist-metrics-[^/]+", environment))
        assert Path(chosen).is_dir()
    assert not Path(chosen).exists()


def test_unknown_paths_and_methods_share_one_route(folder):
    with start(folder) as server:
        for index in range(20):
            server.ask("GET", f"/made-up-{index}")
            server.ask("GET", f"/page/made-up-{index}")
            server.ask("DELETE", "/predict")
        found = scrape(server)
    routes = {key[1]: value for key, value in found.items() if key[0].endswith("requests_total")}
    assert (routes["none"], routes["/page/<path:filename>"]) == (20, 20)
    assert not [route for route in routes if "made-up" in route]


def test_metrics_are_only_on_their_own_port(folder):
    port = free_port()
    with start(folder, METRICS_PORT=str(port)) as server:
        assert server.ask("GET", "/metrics")[0] == 404
        assert scrape(server, port)["mnist_model_ready",] == 1
