"""The access log and the request id, as a real server writes and answers them."""

import json
import re
import subprocess
import sys

import pytest
from gunicorn_server import CONFIG, running_tiny
from tiny_model import multipart, two_lines

TEXT_LINE = r"(\S+Z) (127\.0\.0\.1) (\S+) (\S+) (\S+) (\d+) (\d+) ([\d.]+) (\S+)"
FIELDS = ["time", "client", "request_id", "method", "path", "status", "bytes"]
FIELDS += ["milliseconds", "predictions"]


@pytest.fixture(scope="module", params=["text", "json"])
def server(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("server")
    with running_tiny(folder, LOG_FORMAT=request.param) as server:
        yield server
        if request.param == "json":
            for line in server.read_log().splitlines()[1:]:  # After "Starting gunicorn".
                assert list(json.loads(line)) == ["time", "level", "pid", "message"]


def ask(server, method="GET", path="/version", body=None, **headers):
    """Return the response to a request; underscores in header names stand for hyphens."""
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    return server.request(method, path, body, headers)[0]


def logged(server, request_id):
    """Return the fields, as text, of the one line about a request, in either format."""

    def lines():
        return [line for line in server.stdout.read_text().splitlines() if request_id in line]

    server.wait_until(lines)
    (line,) = lines()
    if line.startswith("{"):
        return {name: str(value) for name, value in json.loads(line).items()}
    return dict(zip(FIELDS, re.fullmatch(TEXT_LINE, line).groups(), strict=True))


def test_a_line_has_all_fields_of_a_request(server):
    body, content_type = multipart(two_lines(3), two_lines(5))
    path = "/predict?details=1"
    response = ask(server, "POST", path, body, Content_Type=content_type, X_Request_ID="abc.D-1_2")
    assert response.getheader("X-Request-ID") == "abc.D-1_2"
    line = logged(server, "abc.D-1_2")
    assert list(line) == FIELDS
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["time"])
    assert (line["client"], line["method"], line["path"]) == ("127.0.0.1", "POST", path)
    assert (line["status"], line["bytes"]) == ("200", response.getheader("Content-Length"))
    assert float(line["milliseconds"]) > 0
    assert line["predictions"] == "35"


def test_an_id_that_is_not_short_and_plain_is_replaced(server):
    for given in ("", "a b", "a" * 65, "é", 'a"b', "a\x85b"):
        response = ask(server, X_Request_ID=given.encode("latin-1"))
        identifier = response.getheader("X-Request-ID")
        assert re.fullmatch("[0-9a-f]{16}", identifier), given
        assert logged(server, identifier)["status"] == "200"


def test_a_path_cannot_forge_a_line(server):
    for path in ("/a%0D%0Aforged", "/a%22,%22", "/%C2%85"):
        response = ask(server, path=path)
        line = logged(server, response.getheader("X-Request-ID"))
        assert (line["path"], line["status"]) == (path, "404")


def test_probes_are_logged_only_when_they_fail(server):
    for path in ("/healthz", "/readyz", "/v2/health/live", "/v2/health/ready"):
        ask(server, path=path, X_Request_ID="passed-probe")
    ask(server, "POST", "/healthz", X_Request_ID="failed-probe")
    assert logged(server, "failed-probe")["status"] == "405"
    assert "passed-probe" not in server.stdout.read_text()


def test_an_invalid_log_format_ends_the_server_with_one_line():
    done = subprocess.run(
        [sys.executable, "-m", "gunicorn", "-c", CONFIG],
        env={"LOG_FORMAT": "xml", "PORT": "0"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    assert done.stderr == "LOG_FORMAT is 'xml': set it to text or json.\n"
