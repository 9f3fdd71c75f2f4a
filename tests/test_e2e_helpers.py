"""The checks of tests/e2e.sh can fail: its helpers and its load, without a cluster."""

import http.server
import json
import sys
import threading

import pytest
from conftest import run_program

STUBS = 'for c in docker kind curl make; do eval "$c() { :; }"; export -f $c; done'


def run(tmp_path, script):
    """Run bash commands after the helpers and return the result; kubectl prints $tmp/kubectl."""
    settings = f"tmp={tmp_path} worker=other-worker namespace=mnist address=172.18.255.201"
    stub = 'kubectl() { cat "$tmp/kubectl"; }; export tmp; export -f kubectl'
    commands = f"{settings}\n. tests/e2e-helpers.sh\n{stub}\n{script}"
    return run_program("bash", "-euo", "pipefail", "-c", commands)


@pytest.mark.parametrize(
    ("check", "passes"),
    [
        ("contains ready echo ready", True),
        ("contains ready bash -c 'echo ready; exit 1'", False),
        ("contains ready echo unrelated", False),
        ("fails_with refused bash -c 'echo refused; exit 1'", True),
        ("fails_with refused echo refused", False),
        ("fails_with refused bash -c 'echo timeout; exit 1'", False),
        ("prints_nothing true", True),
        ("prints_nothing echo something", False),
        ("prints_nothing false", False),
        ("wait_for 1 'it is true' true", True),
        ("wait_for 1 'it is true' false", False),
    ],
)
def test_a_check_fails_when_the_text_is_missing_and_when_the_command_fails(tmp_path, check, passes):
    assert (run(tmp_path, check).returncode == 0) == passes


@pytest.mark.parametrize(
    ("pods", "code"),
    [
        ("Running False\nRunning False\n", 0),
        ("Pending \nPending \n", 1),
        ("Running False\nRunning True\n", 1),
        ("Running False\n", 1),
        ("", 1),
    ],
)
def test_neither_server_may_be_ready_without_a_model(tmp_path, pods, code):
    (tmp_path / "kubectl").write_text(pods)
    assert run(tmp_path, "servers_with Running False").returncode == code


def test_the_commands_of_a_step_are_the_readmes_without_the_marked_blocks(tmp_path):
    (tmp_path / "kubectl").write_text("")
    for number, command in ((2, "docker build -t mnist:train ."), (8, "/predict")):
        assert run(tmp_path, f"{STUBS}; readme {number}").returncode == 0
        assert command in (tmp_path / "step.sh").read_text()
    assert "set env" not in (tmp_path / "step.sh").read_text()
    result = run(tmp_path, "readme 1")
    assert result.returncode != 0
    assert "no commands for step 1" in result.stderr


def test_a_step_fails_at_its_first_command_that_fails(tmp_path):
    result = run(tmp_path, f"{STUBS}; docker() {{ echo no space left; false; }}; readme 2")
    assert result.returncode != 0
    assert "no space left" in result.stderr


def test_a_step_uses_the_nodes_and_the_address_of_the_cluster(tmp_path):
    (tmp_path / "kubectl").write_text("")
    assert run(tmp_path, f"{STUBS}; address=10.1.2.201; readme 8").returncode == 0
    assert "http://10.1.2.201:5000/predict" in (tmp_path / "step.sh").read_text()
    assert run(tmp_path, "readme 5").returncode == 0
    assert "label nodes other-worker training" in (tmp_path / "step.sh").read_text()


class ConstantAnswer(http.server.BaseHTTPRequestHandler):
    """A server that reads every picture as a zero."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", "17")
        self.end_headers()
        self.wfile.write(b'{"prediction": 0}')

    def log_message(self, *arguments):
        """Keep the test's output clean."""


def test_the_load_counts_wrong_answers():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), ConstantAnswer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        result = run_program(sys.executable, "tests/load.py", url, "0.5")
        server.shutdown()
    assert result.returncode == 1
    counts = json.loads(result.stdout)
    assert 0 < counts["failed"] < counts["requests"]
