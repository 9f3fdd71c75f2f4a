"""GET /metrics of a real server with two workers, whose counts are added up."""

import os
import re
import signal
from pathlib import Path

import pytest
from gunicorn_server import running, running_tiny
from ports import free_port
from prometheus_client.parser import text_string_to_metric_families
from tiny_model import multipart, two_lines


@pytest.fixture
def server(tmp_path):
    """A server whose metrics folder has a file of an earlier one."""
    folder = tmp_path / "metrics"
    folder.mkdir()
    (folder / "counter_1.db").write_bytes(b"not a valid file")
    environment = {"PROMETHEUS_MULTIPROC_DIR": str(folder), "WEB_CONCURRENCY": "2"}
    with running_tiny(tmp_path, **environment) as server:
        yield server
    assert not folder.exists(), "it is removed at the end"


def scrape(server, port=None):
    """Return the samples of /metrics as {(name, label values by label name): value}."""
    response, text = server._replace(port=port or server.port).request("GET", "/metrics")
    assert response.status == 200
    assert response.getheader("Content-Type").startswith("text/plain")
    return {
        (sample.name, *(sample.labels[name] for name in sorted(sample.labels))): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def predict(server, digit, times):
    for _ in range(times):
        assert server.ask("POST", "/predict", two_lines(digit), "image/png")[0] == 200


def reject_in_both_workers(server):
    server.ask("GET", "/readyz")
    return scrape(server)["mnist_model_rejections_total",] == 2


def test_all_metrics_are_counted_over_both_workers(server, tmp_path):
    predict(server, 7, 20)
    predict(server, 0, 3)
    server.ask("POST", "/predict", *multipart(two_lines(1), b"", b"hello"))
    server.ask("POST", "/predict", b"\x89PNG\r\n\x1a\n", "image/png")
    server.wait_until(lambda: scrape(server)["mnist_model_loads_total",] == 2)
    (tmp_path / "model.onnx").write_bytes(b"not a model")
    server.wait_until(lambda: reject_in_both_workers(server))
    found = scrape(server)
    assert found["mnist_http_request_duration_seconds_sum", "/predict"] > 0
    assert found["mnist_model_loaded_timestamp_seconds",] > tmp_path.stat().st_ctime - 60
    counts = {digit: found["mnist_predictions_total", str(digit)] for digit in range(10)}
    assert counts == dict.fromkeys(range(10), 0) | {7: 20, 0: 3, 1: 1}
    expected = {
        ("mnist_http_requests_total", "/predict", "200"): 24,
        ("mnist_http_requests_total", "/predict", "422"): 1,
        ("mnist_http_request_duration_seconds_count", "/predict"): 25,
        ("mnist_prediction_confidence_count",): 24,
        ("mnist_rejected_inputs_total", "empty"): 1,
        ("mnist_rejected_inputs_total", "unknown_format"): 1,
        ("mnist_rejected_inputs_total", "damaged"): 1,
        ("mnist_model_loads_total",): 2,
        ("mnist_model_rejections_total",): 2,
        ("mnist_model_ready",): 1,
        ("mnist_model_info", "lines", "aaaaaaaaaaaa", ""): 1,
    }
    assert {name: found[name] for name in expected} == expected


def test_counts_outlive_a_worker_that_is_killed_and_leave_out_an_earlier_server(server, tmp_path):
    files = (tmp_path / "metrics").glob("*.db")
    # A worker writes its file when it has started, which may be later than now.
    assert {int(re.search(r"_(\d+)\.db", path.name)[1]) for path in files} <= {*server.workers()}
    predict(server, 4, 20)
    for pid in server.workers():
        os.kill(pid, signal.SIGKILL)
    server.wait_until(lambda: len(server.workers()) == 4)
    predict(server, 4, 5)
    assert scrape(server)["mnist_predictions_total", "4"] == 25


def test_unknown_paths_and_methods_share_one_route(client):
    for index in range(20):
        client.get(f"/made-up-{index}")
        client.get(f"/page/made-up-{index}")
        client.delete(f"/predict/made-up-{index}")
    text = client.get("/metrics").text
    routes = set(re.findall(r'mnist_http_requests_total{.*?route="(.*?)"', text))
    assert {"none", "/page/<path:filename>"} <= routes
    assert not [route for route in routes if "made-up" in route]


def test_metrics_are_only_on_their_own_port_and_the_folder_chosen_for_them_is_removed(tmp_path):
    port = free_port()
    environment = {"MODEL_PATH": str(tmp_path / "none.onnx"), "METRICS_PORT": str(port)}
    with running(tmp_path, **environment) as server:
        assert server.ask("GET", "/metrics")[0] == 404
        assert scrape(server, port)["mnist_model_ready",] == 0
        maps = Path(f"/proc/{server.workers()[0]}/maps").read_text()
        (chosen,) = set(re.findall(r"/\S*mnist-metrics-[^/]+", maps))
        assert Path(chosen).is_dir()
    assert not Path(chosen).exists()
