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


MNIST, DRAWN, OTHER = (
    model_bytes("aaaaaaaaaaaa", dataset=dataset) for dataset in ("mnist", "synthetic", "garments")
)
FOR_GARMENTS, FOR_DRAWN = {"DATASET": "garments"}, {"DATASET": "synthetic"}
TRAINED = ["train", SERVE]
# The exit codes of two trainings, the model that is there and the settings; then what is done.
CASES = {
    "a model of real data is served without training": ("0 0", MNIST, {}, 0, [SERVE]),
    "without a model one is trained": ("0 0", None, {}, 0, TRAINED),
    "a model that cannot be read is trained again": ("0 0", b"damaged", {}, 0, TRAINED),
    "without the public mirrors there are synthetic digits": (
        *("69 0", None, {}, 0),
        ["train", SYNTHETIC, SERVE],
    ),
    "a wrong setting stops": ("2 0", None, {}, 2, ["train"]),
    "an accuracy below the minimum stops": ("70 0", None, {}, 70, ["train"]),
    "a chosen mirror that does not answer stops": ("69 0", None, MIRROR, 69, ["train"]),
    "real data replace synthetic digits": ("0 0", DRAWN, {}, 0, TRAINED),
    "a model of synthetic digits is served until then": ("69 0", DRAWN, {}, 0, TRAINED),
    "a model of synthetic digits that was asked for": ("0 0", DRAWN, FOR_DRAWN, 0, [SERVE]),
    "a model of other data is served without training": ("0 0", OTHER, {}, 0, [SERVE]),
    "a model of other data than asked for": ("2 0", MNIST, FOR_GARMENTS, 2, ["train"]),
    "synthetic digits do not stand in for other data": ("69 0", None, FOR_GARMENTS, 69, ["train"]),
    "the output folder is the one that is served": (
        *("0 0", None, {"OUTPUT_DIR": "other"}, 0),
        ["train", "serve other/model.onnx"],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_make_run_trains_and_serves_what_is_needed(run, case):
    codes, model, environment, code, steps = CASES[case]
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


@pytest.mark.parametrize(
    ("subnet", "cidr"),
    [
        ("172.19.0.0/16", "172.19.255.200/29"),
        ("192.168.224.0/20", "192.168.239.200/29"),
        ("10.89.4.0/24", "10.89.4.200/29"),
        ("10.0.0.0/28", None),  # no room beside the nodes
    ],
)
def test_the_pool_moves_to_the_top_of_dockers_own_subnet(tmp_path, subnet, cidr):
    executable(tmp_path / "docker", f"printf 'fc00::/64\\n{subnet}\\n'")
    executable(tmp_path / "kubectl", "cat")
    environment = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    result = run_program("scripts/lb-apply.sh", "manifests/cilium-ip-pool.yaml", env=environment)
    if cidr:
        assert f"- cidr: {cidr}\n" in result.stdout
    else:
        assert result.returncode == 1
        assert f"{subnet}, which has no room" in result.stderr


def test_the_shell_scripts_pass_shellcheck():
    folders = ("scripts", "training", "tests/e2e")
    scripts = [path for folder in folders for path in ROOT.glob(f"{folder}/*.sh")]
    shellcheck = Path(sys.executable).with_name("shellcheck")
    assert run_program(shellcheck, "-x", *scripts).stdout == ""
    assert len(scripts) >= 5
