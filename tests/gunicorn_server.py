"""Starts gunicorn with the server's settings, for all tests and benchmarks that need a real server.

with running(folder, MODEL_PATH=str(model)) as server:
    server.ask("GET", "/healthz")

The system chooses a free port, and the port is read from gunicorn's log.
"""

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple

CONFIG = Path(__file__).resolve().parents[1] / "inference" / "gunicorn.conf.py"
# With one of these set, onnxruntime writes nothing to the home directory; the server must do
# without them.
TELEMETRY_VARIABLES = ("CI", "GITHUB_ACTIONS", "TF_BUILD", "BUILD_BUILDID", "ORT_DISABLE_TELEMETRY")
START_SECONDS, STOP_SECONDS = 60, 30


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

    def connect(self, timeout: float = 20) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)

    def ask(self, method, path, body=None, content_type=None) -> tuple[int, dict]:
        """Return status and JSON of the response to one request on a connection of its own."""
        headers = {"Content-Type": content_type} if content_type else {}
        with closing(self.connect()) as connection:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            return response.status, json.loads(response.read())

    def workers(self) -> list[int]:
        """Return the process ids of all workers started so far."""
        return [int(pid) for pid in re.findall(r"Booting worker with pid: (\d+)", self.read_log())]

    def read_log(self) -> str:
        return self.stderr.read_text()

    def wait_until(self, condition: Callable[[], object], seconds: float = 10) -> None:
        """Return when the condition holds; fail with the log after some seconds."""
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


def find_port(log: str) -> int | None:
    """Return the first port on which gunicorn listens, according to its log."""
    found = re.search(r"Listening at: http://[\d.]+:(\d+)", log)
    return int(found[1]) if found else None


def is_alive(server: Server) -> bool:
    """Return whether /healthz answers; applications without that route answer 404."""
    try:
        with closing(server.connect()) as connection:
            connection.request("GET", "/healthz")
            return connection.getresponse().status in (200, 404)
    except OSError:
        return False


def write_config(folder: Path, *lines: str) -> Path:
    """Write a configuration with the server's settings and then some others; return its path.

    A constant of another file is set by a line like `gunicorn_worker.BODY_SECONDS = 1`.
    """
    path = folder / "changed.conf.py"
    real = f"import gunicorn_worker\n__file__ = {str(CONFIG)!r}\nexec(open(__file__).read())\n"
    imports = f"import sys\nsys.path.insert(0, {str(CONFIG.parent)!r})\n"
    path.write_text(imports + real + "\n".join(lines) + "\n")
    return path
