"""make run's decisions: what it installs, and which model it trains, replaces and serves.

Runs the real Makefile, scripts/run.sh and training/install.sh.

Training and serving take minutes, so small programs stand in for them and record how they are
called; train.py's exit codes are tested in test_training.py and test_dataset.py.
"""

import os
import re
import shutil
import subprocess
import sys

import pytest
from conftest import ROOT
from tiny_model import model_bytes

TRAIN = """
import os, sys
print("train", *sys.argv[1:])
codes = os.environ["CODES"].split()
synthetic = "synthetic" in sys.argv
sys.exit(int(codes[synthetic]))
"""


@pytest.fixture
def run(tmp_path):
    """run(codes, model, **environment) gives the exit code and the lines of scripts/run.sh."""
    for folder in ("scripts", "training", ".venv/bin"):
        (tmp_path / folder).mkdir(parents=True)
    shutil.copy(ROOT / "scripts" / "run.sh", tmp_path / "scripts")
    (tmp_path / "training" / "train.py").write_text(TRAIN)
    python = tmp_path / ".venv/bin/python"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    server = tmp_path / ".venv/bin/gunicorn"
    server.write_text('#!/bin/sh\necho "serve $MODEL_PATH"\n')
    server.chmod(0o755)

    def run(codes, trained_on=None, **environment):
        folder = tmp_path / environment.get("OUTPUT_DIR", "artifacts")
        folder.mkdir(parents=True, exist_ok=True)
        if trained_on:
            (folder / "model.onnx").write_bytes(model_bytes("aaaaaaaaaaaa", dataset=trained_on))
        names = ("DATASET", "MNIST_MIRROR", "OUTPUT_DIR")
        inherited = {name: text for name, text in os.environ.items() if name not in names}
        process = subprocess.run(
            [tmp_path / "scripts" / "run.sh"],
            env=inherited | {"CODES": codes} | environment,
            capture_output=True,
            text=True,
        )
        lines = process.stdout.splitlines()
        return process.returncode, [x for x in lines if x.startswith(("train", "serve"))]

    return run


SERVE = "serve artifacts/model.onnx"


def test_a_model_of_real_data_is_served_without_training(run):
    assert run("0 0", "mnist") == (0, [SERVE])


def test_without_a_model_one_is_trained(run):
    assert run("0 0") == (0, ["train", SERVE])


def test_a_model_that_cannot_be_read_is_trained_again(run, tmp_path):
    (tmp_path / "artifacts").mkdir()
    (tmp_path / "artifacts" / "model.onnx").write_bytes(b"damaged")
    assert run("0 0") == (0, ["train", SERVE])


def test_unreachable_public_mirrors_lead_to_synthetic_digits(run):
    assert run("69 0") == (0, ["train", "train --dataset synthetic", SERVE])


@pytest.mark.parametrize("code", ["2", "65", "70", "73"])
def test_a_wrong_setting_or_wrong_data_stops_without_a_model(run, code):
    assert run(f"{code} 0") == (int(code), ["train"])


def test_a_chosen_mirror_that_does_not_answer_stops_without_a_model(run):
    assert run("69 0", MNIST_MIRROR="http://127.0.0.1:1") == (69, ["train"])


def test_a_model_of_synthetic_digits_is_replaced_as_soon_as_real_data_is_available(run):
    assert run("0 0", "synthetic") == (0, ["train", SERVE])
    assert run("69 0", "synthetic") == (0, ["train", SERVE]), "and served until then"


def test_a_model_of_synthetic_digits_is_kept_if_it_was_asked_for(run):
    assert run("0 0", "synthetic", DATASET="synthetic") == (0, [SERVE])


def test_the_output_folder_is_the_one_that_is_served(run, tmp_path):
    folder = str(tmp_path / "elsewhere")
    assert run("0 0", OUTPUT_DIR=folder) == (0, ["train", f"serve {folder}/model.onnx"])


PYTHON = """#!/bin/sh
case $1 in
-m) mkdir -p .venv/bin && printf '#!/bin/sh\\n' > .venv/bin/pip && chmod +x .venv/bin/pip ;;
esac
"""


def test_packages_are_installed_again_when_torch_index_changes(tmp_path):
    shutil.copy(ROOT / "Makefile", tmp_path)
    for folder in ("training", "inference"):
        (tmp_path / folder).mkdir()
        for path in (ROOT / folder).glob("*.txt"):
            shutil.copy(path, tmp_path / folder)
    install = tmp_path / "training" / "install.sh"
    install.write_text('echo "install from [${TORCH_INDEX-default}]"\n')
    python = tmp_path / "python"
    python.write_text(PYTHON)
    python.chmod(0o755)

    def make(**environment):
        inherited = {name: text for name, text in os.environ.items() if name != "TORCH_INDEX"}
        command = ["make", "--no-print-directory", ".venv/run", f"PYTHON={python}"]
        process = subprocess.run(
            command, cwd=tmp_path, env=inherited | environment, capture_output=True, text=True
        )
        assert process.returncode == 0, process.stderr
        return [line for line in process.stdout.splitlines() if line.startswith("install from")]

    assert make() == ["install from [default]"]
    assert make() == []
    assert make(TORCH_INDEX="") == ["install from []"]
    assert make(TORCH_INDEX="") == []


PIP = """#!/bin/sh
echo "$*"
[ "$1" != freeze ] || echo "torch==2.15.0+cpu"
"""


@pytest.mark.parametrize(("index", "removed"), [("", True), ("http://127.0.0.1/cpu", False)])
def test_both_builds_come_from_one_index_and_a_cpu_build_gives_way_to_the_cuda_build(
    index, removed, tmp_path
):
    pip = tmp_path / "pip"
    pip.write_text(PIP)
    pip.chmod(0o755)
    process = subprocess.run(
        ["sh", ROOT / "training" / "install.sh", pip],
        env=os.environ | {"TORCH_INDEX": index},
        capture_output=True,
        text=True,
        check=True,
    )
    lines = process.stdout.splitlines()
    assert ("uninstall --quiet --yes torch torchvision" in lines) is removed
    (both,) = (line for line in lines if "--no-deps" in line)
    assert re.search(r" torch==[\d.]+ torchvision==[\d.]+$", both), "from the same index"
    assert index in both
