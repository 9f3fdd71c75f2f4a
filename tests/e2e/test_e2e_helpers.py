"""The checks of tests/e2e/e2e.sh can fail: its helpers and its load, without a cluster."""

import json
import re
import sys

import pytest
import yaml
from gunicorn_server import running_tiny
from programs import ROOT, run_program

STUBS = 'for c in docker kind curl make; do eval "$c() { :; }"; export -f $c; done'


def run(tmp_path, script):
    """Run bash commands after the helpers and return the result; kubectl prints $tmp/kubectl."""
    settings = f"tmp={tmp_path} worker=other-worker namespace=mnist address=172.18.255.201"
    stub = 'kubectl() { cat "$tmp/kubectl"; }; export tmp; export -f kubectl'
    commands = f"{settings}\n. tests/e2e/e2e-helpers.sh\n{stub}\n{script}"
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
        ("in_background job true; finish_background job", True),
        ("in_background job false; finish_background job", False),
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


def test_a_step_fails_at_its_first_command_that_fails(tmp_path):
    result = run(tmp_path, f"{STUBS}; docker() {{ echo no space left; false; }}; readme 2")
    assert result.returncode != 0
    assert "no space left" in result.stderr


def test_the_load_counts_wrong_answers(tmp_path):
    with running_tiny(tmp_path) as server:
        result = run_program(sys.executable, "tests/e2e/load.py", server.url, "0.5")
    assert result.returncode == 1
    counts = json.loads(result.stdout)
    assert 0 < counts["failed"] <= counts["requests"]
    assert any(re.fullmatch(r"failed: a \d was read as \d", name) for name in counts)


def test_the_tests_of_the_alerts_are_of_the_alerts_that_prometheus_has():
    path = ROOT / "tests" / "e2e" / "alerts_test.yml"
    (rules,) = yaml.safe_load(path.read_text())["rule_files"]
    assert (path.parent / rules).resolve() == ROOT / "manifests/monitoring/config/alerts.yml"
