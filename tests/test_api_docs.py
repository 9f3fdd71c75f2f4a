"""The examples of docs/api.md, run against a real server; ... in the output matches anything."""

import re
import subprocess
from pathlib import Path

import pytest
from gunicorn_server import running

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = re.findall(r"^\$ (curl .*)\n(.*)$", (ROOT / "docs" / "api.md").read_text(), re.MULTILINE)


@pytest.fixture(scope="module")
def server(tmp_path_factory, mnist_model_file):
    folder = tmp_path_factory.mktemp("server")
    with running(folder, MODEL_PATH=str(mnist_model_file)) as server:
        yield server


@pytest.mark.parametrize(("command", "output"), EXAMPLES)
def test_an_example_has_the_output_in_the_documentation(server, command, output):
    command = command.replace("http://localhost:5000", server.url)
    done = subprocess.run(command, shell=True, cwd=ROOT, capture_output=True, text=True, timeout=20)
    pattern = ".*".join(map(re.escape, output.split("...")))
    assert re.fullmatch(pattern, done.stdout.strip()), done.stdout
