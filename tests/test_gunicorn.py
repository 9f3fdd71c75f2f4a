"""The server as it is deployed: real gunicorn with its own settings, real sockets."""

import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path
from typing import NamedTuple

import pytest
from PIL import Image
from tiny_model import band, encoded, model_bytes, multipart, write_model

CONFIG = Path(__file__).parents[1] / "inference" / "gunicorn.conf.py"
VERSION, NEXT_VERSION = "aaaaaaaaaaaa", "bbbbbbbbbbbb"
MEBIBYTE = 2**20
UNLIMITED_UPLOAD = 200 * MEBIBYTE
# onnxruntime keeps quiet in CI, and where it is told to, as conftest.py tells these tests: the
# server must see to it everywhere else.
QUIETING = {"CI", "GITHUB_ACTIONS", "TF_BUILD", "BUILD_BUILDID", "ORT_DISABLE_TELEMETRY"}
CHECK_PROC = pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="no /proc")


class Server(NamedTuple):
    """A running gunicorn."""

    process: subprocess.Popen
    port: int
    model: Path
    home: Path
    output: Path
    log: Path

    def connect(self):
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)

    def ask(self, method, path, body=None, content_type=None):
        """Status and JSON of one request on a connection of its own."""
        headers = {"Content-Type": content_type} if content_type else {}
        with closing(self.connect()) as connection:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())

    def workers(self):
        return [int(pid) for pid in re.findall(r"Booting worker with pid: (\d+)", self.read_log())]

    def read_log(self):
        return self.log.read_text()


def start(folder, config=CONFIG, **environment):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    surroundings = {name: os.environ[name] for name in os.environ.keys() - QUIETING}
    output, log, model, home = (
        folder / name for name in ("stdout", "stderr", "model.onnx", "home")
    )
    home.mkdir()
    surroundings |= {"HOME": str(home), "XDG_CACHE_HOME": str(home), "XDG_RUNTIME_DIR": str(home)}
    with output.open("w") as out, log.open("w") as err:
        process = subprocess.Popen(
            [sys.executable, "-m", "gunicorn", "-c", str(config)],
            env=surroundings | {"PORT": str(port), "MODEL_PATH": str(model)} | environment,
            cwd=folder,
            stdout=out,
            stderr=err,
        )
    server = Server(process, port, model, home, output, log)
    wait_until(lambda: is_alive(server), server)
    return server


def stop(server):
    server.process.terminate()
    try:
        assert server.process.wait(15) == 0
    finally:
        server.process.kill()


def is_alive(server):
    try:
        return server.ask("GET", "/healthz")[0] == 200
    except OSError:
        return False


def wait_until(condition, server, seconds=10):
    deadline = time.monotonic() + seconds
    while not condition():
        assert server.process.poll() is None, server.read_log()
        assert time.monotonic() < deadline, server.read_log()
        time.sleep(0.02)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("server")
    write_model(folder / "model.onnx", VERSION)
    server = start(folder)
    yield server
    stop(server)


@pytest.fixture
def start_one(tmp_path):
    """Start a server of the test's own, with its own config or environment."""
    started = []

    def start_and_remember(*args, **environment):
        started.append(start(tmp_path, *args, **environment))
        return started[-1]

    yield start_and_remember
    for server in started:
        if server.process.poll() is None:
            stop(server)


def test_a_picture_sent_over_http_is_answered(server):
    assert server.ask("POST", "/predict", *multipart(band(7))) == (200, {"prediction": 7})


def test_each_request_is_one_line_on_stdout_and_answered_probes_are_none(server):
    server.ask("GET", "/healthz")
    server.ask("GET", "/readyz")
    server.ask("GET", "/nowhere%0Aforged")
    server.ask("POST", "/predict?details=1", band(3), "image/png")

    def logged(pattern):
        return re.search(rf"^{pattern}$", server.output.read_text(), re.MULTILINE)

    wait_until(lambda: logged(r"GET /nowhere%0Aforged 404 \d+ \d+ms"), server)
    wait_until(lambda: logged(r"POST /predict\?details=1 200 \d+ \d+ms"), server)
    assert not logged(r".*/(healthz|readyz).*")


def test_the_server_leaves_nothing_in_the_home_directory(server):
    assert server.ask("POST", "/predict", *multipart(band(1)))[0] == 200
    assert list(server.home.rglob("*")) == []  # no device id of onnxruntime's, no socket


@pytest.mark.parametrize("size", [6, 50])
@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
@pytest.mark.parametrize("close", [False, True], ids=["keep-alive", "close"])
def test_a_client_that_sends_all_before_it_listens_still_gets_the_413(server, size, chunked, close):
    body = bytes(size * MEBIBYTE)
    headers = {"Content-Type": "image/png"} | ({"Connection": "close"} if close else {})
    sent = (body[at : at + MEBIBYTE] for at in range(0, len(body), MEBIBYTE)) if chunked else body
    with closing(server.connect()) as connection:
        connection.request("POST", "/predict", sent, headers, encode_chunked=chunked)
        answer = connection.getresponse()
        assert answer.status == 413
        assert "4 MiB" in json.loads(answer.read())["error"]


@pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed")
@pytest.mark.parametrize(
    "options",
    [
        ["-F", "file=@large.bin"],
        ["-F", "file=@large.bin", "-H", "Transfer-Encoding: chunked"],
        ["-F", "file=@large.bin", "-H", "Expect:"],
        ["-F", "file=@large.bin", "-H", "Expect: 100-continue"],
        ["-F", "file=@large.bin", "--http1.0"],
        ["-T", "large.bin", "-X", "POST", "-H", "Content-Type: image/png"],
    ],
    ids=["plain", "chunked", "no expect", "expect", "http 1.0", "upload"],
)
def test_curl_gets_the_413(server, tmp_path, options):
    (tmp_path / "large.bin").write_bytes(bytes(50 * MEBIBYTE))
    url = f"http://127.0.0.1:{server.port}/predict"
    curl = subprocess.run(
        ["curl", "--silent", "--show-error", "--max-time", "20", *options, url],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert curl.returncode == 0, curl.stderr
    assert "4 MiB" in json.loads(curl.stdout)["error"]


def test_a_client_that_never_stops_sending_is_cut_off(server):
    head = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\n"
    piece, sent = bytes(MEBIBYTE), 0
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        connection.sendall(head + b"Content-Length: %d\r\n\r\n" % UNLIMITED_UPLOAD)
        with suppress(ConnectionError):
            while sent < UNLIMITED_UPLOAD:
                connection.sendall(piece)
                sent += len(piece)
    assert sent < UNLIMITED_UPLOAD / 2


@CHECK_PROC
def test_a_worker_holds_less_than_120_mb_after_photos_of_12_megapixels(server):
    photo = encoded(Image.effect_noise((4000, 3000), 40).convert("RGB"), "JPEG", quality=40)
    assert 1 * MEBIBYTE < len(photo) < 4 * MEBIBYTE
    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(server.ask, "POST", "/predict", *multipart(photo)) for _ in range(8)]
    assert {each.result()[0] for each in asked} <= {200, 422}
    for pid in server.workers():
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
        assert int(re.search(r"^Pss: +(\d+) kB", rollup, re.MULTILINE)[1]) < 120_000


@pytest.mark.parametrize(
    "body", [b"zz\r\n", b"5\r\nabc", b"3\r\nabcdef\r\n", b"0\r\nbad trailer\n\r\n"]
)
def test_malformed_chunks_are_a_400_and_no_failure_of_the_server(server, body):
    head = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\n"
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        connection.sendall(head + b"Transfer-Encoding: chunked\r\n\r\n" + body)
        connection.shutdown(socket.SHUT_WR)
        assert connection.makefile("rb").read().startswith(b"HTTP/1.1 400 ")
    assert "Traceback" not in server.read_log()


def test_stalled_uploads_do_not_keep_the_others_waiting(start_one, tmp_path):
    impatient = tmp_path / "gunicorn.conf.py"
    impatient.write_text(
        f"exec(open({str(CONFIG)!r}).read())\n"
        f"pythonpath, STALL_TIMEOUT, workers = {str(CONFIG.parent)!r}, 0.5, 1\n"
    )
    server = start_one(impatient)
    stalled = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(6)]
    for connection in stalled:
        connection.sendall(
            b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\n"
            b"Content-Length: 1000\r\n\r\nstart"
        )
    write_model(server.model, VERSION)
    assert server.ask("POST", "/predict", *multipart(band(4))) == (200, {"prediction": 4})
    for connection in stalled:
        connection.close()


def test_a_server_started_without_a_model_serves_it_when_it_appears(start_one):
    server = start_one()
    assert server.ask("GET", "/readyz")[0] == 503
    assert server.ask("POST", "/predict", *multipart(band(8)))[0] == 503
    lines = [line for line in server.read_log().splitlines() if "There is no model at" in line]
    workers = [re.search(r"\] \[(\d+)\]", line)[1] for line in lines]
    assert workers, "the log says why"
    assert len(set(workers)) == len(workers), "each worker once, not on each request"
    write_model(server.model, VERSION)
    assert server.ask("GET", "/readyz") == (200, {"status": "ready", "model_version": VERSION})
    assert server.ask("POST", "/predict", *multipart(band(8))) == (200, {"prediction": 8})


def test_both_workers_refuse_a_broken_model_and_take_the_next_one(start_one, tmp_path):
    write_model(tmp_path / "model.onnx", VERSION)
    server = start_one(WEB_CONCURRENCY="2")

    def asked_until_both_log(words):
        """The versions answered while requests go on until each worker has written `words`."""
        versions = set()

        def both_have_logged():
            with ThreadPoolExecutor(4) as pool:
                answers = list(pool.map(lambda _: server.ask("GET", "/readyz"), range(8)))
            assert {status for status, _ in answers} == {200}
            versions.update(answer["model_version"] for _, answer in answers)
            lines = [line for line in server.read_log().splitlines() if words in line]
            return len({re.search(r"\[(\d+)\]", line)[1] for line in lines}) == 2

        wait_until(both_have_logged, server)
        return versions

    assert asked_until_both_log(f"serving model {VERSION}") == {VERSION}
    server.model.write_bytes(model_bytes(NEXT_VERSION)[:-200])
    assert asked_until_both_log("refused") == {VERSION}
    write_model(server.model, NEXT_VERSION)
    assert asked_until_both_log(f"serving model {NEXT_VERSION}") == {NEXT_VERSION}
    assert server.read_log().count("refused") == 2


def test_a_request_in_flight_is_answered_after_sigterm(start_one, tmp_path):
    write_model(tmp_path / "model.onnx", VERSION)
    server = start_one()
    body, content_type = multipart(band(6))
    with closing(server.connect()) as connection:
        connection.putrequest("POST", "/predict")
        connection.putheader("Content-Type", content_type)
        connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body[:100])
        time.sleep(0.3)  # till a worker has the request and waits for the rest
        server.process.send_signal(signal.SIGTERM)
        wait_until(lambda: "Handling signal: term" in server.read_log(), server)
        time.sleep(0.3)  # till the workers have been told
        connection.send(body[100:])
        answer = connection.getresponse()
        assert (answer.status, json.loads(answer.read())) == (200, {"prediction": 6})
    assert server.process.wait(15) == 0
