"""Starts gunicorn with the server's settings, for all tests and benchmarks that need a real server.

with running(folder, MODEL_PATH=str(model)) as server:
    server.ask("GET", "/healthz")

The system chooses a free port, and the port is read from gunicorn's log.
"""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from typing import NamedTuple

from tiny_model import write_model

CONFIG = Path(__file__).resolve().parents[2] / "inference" / "gunicorn.conf.py"
# With one of these set, onnxruntime writes nothing to the home directory; the server must do
# without them.
TELEMETRY_VARIABLES = ("CI", "GITHUB_ACTIONS", "TF_BUILD", "BUILD_BUILDID", "ORT_DISABLE_TELEMETRY")
# The image's settings of the C library's memory allocator.
MALLOC = dict(re.findall(r"(MALLOC_\w+)=(\d+)", (CONFIG.parent / "Dockerfile").read_text()))
START_SECONDS, STOP_SECONDS = 60, 60
# The head of a request whose body is still to come.
BODY_HEAD = (
    b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\n"
    b"Content-Length: 100000\r\n\r\n"
)


class Server(NamedTuple):
    """A running gunicorn: its port, its two log files, and its seconds to the first 200."""

    process: subprocess.Popen
    port: int
    stdout: Path
    stderr: Path
    start_seconds: float

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def connect(self, timeout: float = 60) -> HTTPConnection:
        return HTTPConnection("127.0.0.1", self.port, timeout=timeout)

    def request(self, method, path, body=None, headers=None) -> tuple[HTTPResponse, bytes]:
        """Return the response to one request on a connection of its own, and its body."""
        with closing(self.connect()) as connection:
            connection.request(method, path, body, headers or {})
            response = connection.getresponse()
            return response, response.read()

    def ask(self, method, path, body=None, content_type=None) -> tuple[int, dict]:
        """Return status and JSON of the response to one request."""
        headers = {"Content-Type": content_type} if content_type else {}
        response, answer = self.request(method, path, body, headers)
        return response.status, json.loads(answer)

    def open_socket(self, data: bytes = b"") -> socket.socket:
        """Return a connection on which some bytes have been sent."""
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=60)
        connection.sendall(data)
        return connection

    def open_files(self) -> int:
        """Return how many files and connections the first worker has open."""
        return len(list(Path(f"/proc/{self.workers()[0]}/fd").iterdir()))

    def peak_mb(self, ask: Callable[[], object]) -> float:
        """Return the largest memory of the first worker, in MB, while ask() runs.

        It is VmHWM, which writing 5 to clear_refs resets (proc(5)).
        """
        process = Path(f"/proc/{self.workers()[0]}")
        (process / "clear_refs").write_text("5")
        ask()
        peak = re.search(r"VmHWM:\s+(\d+) kB", (process / "status").read_text())[1]
        return int(peak) * 1024 / 1e6

    def workers(self) -> list[int]:
        """Return the process ids of all workers started so far."""
        return [int(pid) for pid in re.findall(r"Booting worker with pid: (\d+)", self.read_log())]

    def read_log(self) -> str:
        return self.stderr.read_text()

    def wait_until(self, condition: Callable[[], object], seconds: float = 60) -> None:
        """Return when the condition holds; fail with the log if the server ends or hangs."""
        deadline = time.monotonic() + seconds
        while not condition():
            assert self.process.poll() is None, self.read_log()
            assert time.monotonic() < deadline, self.read_log()
            time.sleep(0.02)


@contextmanager
def running(folder: Path, *arguments: str | Path, **environment: str) -> Iterator[Server]:
    """Run gunicorn for the length of a with block; its working directory and home is `folder`.

    The arguments are gunicorn's. Raises an AssertionError with the log if it does not start.
    """
    inherited = {name: os.environ[name] for name in os.environ.keys() - set(TELEMETRY_VARIABLES)}
    home = folder / "home"
    home.mkdir(exist_ok=True)
    inherited |= {"HOME": str(home), "XDG_CACHE_HOME": str(home), "XDG_RUNTIME_DIR": str(home)}
    stdout, stderr = folder / "stdout", folder / "stderr"
    command = [sys.executable, "-m", "gunicorn", "-c", CONFIG, *arguments]
    started = time.perf_counter()
    with stdout.open("w") as out, stderr.open("w") as err:
        process = subprocess.Popen(
            command, env=inherited | {"PORT": "0"} | environment, cwd=folder, stdout=out, stderr=err
        )
    try:
        server = Server(process, 0, stdout, stderr, 0)
        server.wait_until(lambda: find_port(server.read_log()), START_SECONDS)
        server = server._replace(port=find_port(server.read_log()))
        server.wait_until(lambda: is_alive(server), START_SECONDS)
        yield server._replace(start_seconds=time.perf_counter() - started)
        if process.poll() is None:
            process.terminate()
            assert process.wait(STOP_SECONDS) == 0, server.read_log()
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGQUIT)  # Ends the workers, too.
            process.wait(STOP_SECONDS)


@contextmanager
def running_tiny(folder: Path, *lines: str, **environment: str) -> Iterator[Server]:
    """Run the server with a model of tiny_model.py, one worker, and then these lines as settings.

    It ends without lingering, so that tests do not wait for it.
    """
    model = write_model(folder / "model.onnx", "aaaaaaaaaaaa")
    config = write_config(folder, "gunicorn_worker.LINGER_SECONDS = 0", *lines)
    environment = {"WEB_CONCURRENCY": "1", "MODEL_PATH": str(model)} | MALLOC | environment
    with running(folder, "-c", config, **environment) as server:
        yield server


def find_port(log: str) -> int | None:
    """Return the first port on which gunicorn listens, according to its log."""
    found = re.search(r"Listening at: http://[\d.]+:(\d+)", log)
    return int(found[1]) if found else None


def read_until_closed(connection: socket.socket) -> bytes:
    """Return what arrives until the server closes the connection; TimeoutError if it does not."""
    received = b""
    with suppress(ConnectionError):
        while data := connection.recv(65536):
            received += data
    return received


def is_alive(server: Server) -> bool:
    """Return whether /healthz answers; applications without that route answer 404."""
    try:
        return server.request("GET", "/healthz")[0].status in (200, 404)
    except OSError:
        return False


def write_config(folder: Path, *lines: str) -> Path:
    """Write a configuration with the server's settings and then some others; return its path.

    A constant of another file is set by a line like `request_body.BODY_SECONDS = 1`.
    """
    path = folder / "changed.conf.py"
    real = f"__file__ = {str(CONFIG)!r}\nexec(open(__file__).read())\n"
    imports = f"import sys\nsys.path.insert(0, {str(CONFIG.parent)!r})\n"
    imports += "from web import gunicorn_worker, request_body\n"
    path.write_text(imports + real + "\n".join(lines) + "\n")
    return path
