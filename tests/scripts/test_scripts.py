"""The shell scripts: what make run trains and serves, what is installed, and the address pool.

They run as they are. Training, serving and installing take minutes, so small programs stand in for
them and record how they are called; train.py's exit codes are tested in test_training.py.
"""

import os
import re
import shutil
import sys
from pathlib import Path

import pytest
from programs import ROOT, executable, run_program
from tiny_model import model_bytes

TRAIN = """
import os, sys
print("train", *sys.argv[1:])
codes = os.environ["CODES"].split()
synthetic = "synthetic" in sys.argv
sys.exit(int(codes[synthetic]))
"""
SERVE = "serve artifacts/model.onnx"
SYNTHETIC = "train --dataset synthetic"
MIRROR = {"MNIST_MIRROR": "http://127.0.0.1:1"}


@pytest.fixture
def run(tmp_path):
    """run(codes, model, **environment) gives the exit code and the lines of scripts/run.sh."""
    for folder in ("scripts", "training", ".venv/bin", "artifacts"):
        (tmp_path / folder).mkdir(parents=True)
    shutil.copy(ROOT / "scripts" / "run.sh", tmp_path / "scripts")
    (tmp_path / "training" / "train.py").write_text(TRAIN)
    executable(tmp_path / ".venv/bin/python", f'exec {sys.executable} "$@"')
    executable(tmp_path / ".venv/bin/gunicorn", 'echo "serve $MODEL_PATH"')

    def run(codes, model=None, **environment):
        if model:
            (tmp_path / "artifacts" / "model.onnx").write_bytes(model)
        names = ("DATASET", "MNIST_MIRROR", "OUTPUT_DIR")
        inherited = {name: text for name, text in os.environ.items() if name not in names}
        environment = inherited | {"CODES": codes} | environment
        process = run_program(tmp_path / "scripts" / "run.sh", cwd=tmp_path, env=environment)
        lines = process.stdout.splitlines()
        return process.returncode, [x for x in lines if x.startswith(("train", "serve"))]

    return run


def trained_on(dataset):
    return model_bytes("aaaaaaaaaaaa", dataset=dataset)


@pytest.mark.parametrize(
    ("codes", "model", "environment", "code", "steps"),
    [
        ("0 0", trained_on("mnist"), {}, 0, [SERVE]),
        ("0 0", None, {}, 0, ["train", SERVE]),
        ("0 0", b"damaged", {}, 0, ["train", SERVE]),
        ("69 0", None, {}, 0, ["train", SYNTHETIC, SERVE]),
        ("2 0", None, {}, 2, ["train"]),
        ("70 0", None, {}, 70, ["train"]),
        ("69 0", None, MIRROR, 69, ["train"]),
        ("0 0", trained_on("synthetic"), {}, 0, ["train", SERVE]),
        ("69 0", trained_on("synthetic"), {}, 0, ["train", SERVE]),
        ("0 0", trained_on("synthetic"), {"DATASET": "synthetic"}, 0, [SERVE]),
        ("0 0", trained_on("garments"), {}, 0, [SERVE]),
        ("2 0", trained_on("mnist"), {"DATASET": "garments"}, 2, ["train"]),
        ("69 0", None, {"DATASET": "garments"}, 69, ["train"]),
        ("0 0", None, {"OUTPUT_DIR": "other"}, 0, ["train", "serve other/model.onnx"]),
    ],
    ids=[
        "a model of real data is served without training",
        "without a model one is trained",
        "a model that cannot be read is trained again",
        "without the public mirrors there are synthetic digits",
        "a wrong setting stops",
        "an accuracy below the minimum stops",
        "a chosen mirror that does not answer stops",
        "a model of synthetic digits is replaced when real data is available",
        "a model of synthetic digits is served until then",
        "a model of synthetic digits is kept if it was asked for",
        "a model of other data is served without training",
        "a model of other data than asked for is not served",
        "synthetic digits do not stand in for other data",
        "the output folder is the one that is served",
    ],
)
def test_make_run_trains_and_serves_what_is_needed(run, codes, model, environment, code, steps):
    assert run(codes, model, **environment) == (code, steps)


def test_packages_are_installed_again_when_torch_index_changes(tmp_path):
    shutil.copy(ROOT / "Makefile", tmp_path)
    for folder in ("training", "inference"):
        (tmp_path / folder).mkdir()
        for path in (ROOT / folder).glob("*.txt"):
            shutil.copy(path, tmp_path / folder)
    install = tmp_path / "training" / "install.sh"
    install.write_text('echo "install from [${TORCH_INDEX-default}]"\n')
    pip = "mkdir -p .venv/bin && printf '#!/bin/sh\\n' > .venv/bin/pip && chmod +x .venv/bin/pip"
    python = executable(tmp_path / "python", f"case $1 in -m) {pip} ;; esac")
    inherited = {name: text for name, text in os.environ.items() if name != "TORCH_INDEX"}

    def make(**environment):
        command = ["make", "--no-print-directory", ".venv/run", f"PYTHON={python}"]
        process = run_program(*command, cwd=tmp_path, env=inherited | environment)
        assert process.returncode == 0, process.stderr
        return [line for line in process.stdout.splitlines() if line.startswith("install from")]

    assert make() == ["install from [default]"]
    assert make() == []
    assert make(TORCH_INDEX="") == ["install from []"]
    assert make(TORCH_INDEX="") == []


@pytest.mark.parametrize(("index", "removed"), [("", True), ("http://127.0.0.1/cpu", False)])
def test_both_builds_come_from_one_index_and_a_cpu_build_gives_way_to_the_cuda_build(
    index, removed, tmp_path
):
    pip = executable(tmp_path / "pip", 'echo "$*"; [ $1 != freeze ] || echo "torch==2.15.0+cpu"')
    environment = os.environ | {"TORCH_INDEX": index}
    process = run_program("sh", ROOT / "training" / "install.sh", pip, env=environment)
    assert process.returncode == 0, process.stderr
    lines = process.stdout.splitlines()
    assert ("uninstall --quiet --yes torch torchvision" in lines) is removed
    (both,) = (line for line in lines if "--no-deps" in line)
    assert re.search(r" torch==[\d.]+ torchvision==[\d.]+$", both), "from the same index"
    assert index in both


def lb_apply(tmp_path, subnet):
    """Run scripts/lb-apply.sh with a docker that reports the subnet and a kubectl that prints."""
    executable(tmp_path / "docker", f"printf 'fc00::/64\\n{subnet}\\n'")
    executable(tmp_path / "kubectl", "cat")
    environment = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    return run_program("scripts/lb-apply.sh", "manifests/cilium-ip-pool.yaml", env=environment)


@pytest.mark.parametrize(
    ("subnet", "cidr"),
    [
        ("172.19.0.0/16", "172.19.255.200/29"),
        ("192.168.224.0/20", "192.168.239.200/29"),
        ("10.89.4.0/24", "10.89.4.200/29"),
    ],
)
def test_the_pool_moves_to_the_top_of_dockers_own_subnet(tmp_path, subnet, cidr):
    assert f"- cidr: {cidr}\n" in lb_apply(tmp_path, subnet).stdout


def test_a_subnet_with_no_room_beside_the_nodes_is_refused(tmp_path):
    result = lb_apply(tmp_path, "10.0.0.0/28")
    assert result.returncode == 1
    assert "10.0.0.0/28, which has no room" in result.stderr


def test_the_shell_scripts_pass_shellcheck():
    scripts = [
        *ROOT.glob("scripts/*.sh"),
        *ROOT.glob("training/*.sh"),
        *ROOT.glob("tests/e2e/*.sh"),
    ]
    shellcheck = Path(sys.executable).with_name("shellcheck")
    assert run_program(shellcheck, "-x", *scripts).stdout == ""
    assert len(scripts) >= 5
