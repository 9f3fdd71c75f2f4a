"""What a training process needs in a Pod: files, the lock, checkpoints, signals, threads."""

import errno
import os
import shutil
import signal
from unittest.mock import Mock

import model
import process
import pytest
import torch
from model import RECIPES
from programs import ROOT
from training_runs import read_until, same, start_training


def build():
    return model.build(RECIPES["default"], 0, torch.device("cpu"))


@pytest.fixture
def checkpoint(tmp_path):
    """The path of a checkpoint of build()'s network after a step."""
    network, sgd = build()
    network(torch.randn(8, 1, 28, 28)).square().mean().backward()
    sgd.step()
    path = process.checkpoint_path(tmp_path, {})
    process.save_checkpoint(path, 7, network, sgd, [{"epoch": 1}])
    return path


def test_a_checkpoint_restores_the_weights_the_momentum_the_step_and_the_metrics(checkpoint):
    state, (network, sgd) = torch.load(checkpoint, weights_only=True), build()
    assert not same(network.state_dict(), state["network"])
    restored = process.resume(checkpoint, checkpoint.read_bytes(), network, sgd)
    assert restored == (7, [{"epoch": 1}])
    assert same(network.state_dict(), state["network"])
    assert sgd.state_dict()["state"][0]["momentum_buffer"].abs().sum() > 0


@pytest.mark.parametrize("length", [0, 1, 1000, -1], ids=["none", "a byte", "start", "almost all"])
def test_without_a_complete_checkpoint_the_training_starts_anew(length, checkpoint, capsys):
    network, sgd = build()
    content = checkpoint.read_bytes()[:length]
    assert process.resume(checkpoint, content, network, sgd) == (0, [])
    assert same(network.state_dict(), build()[0].state_dict())
    assert ("training from the start" in capsys.readouterr().out) == bool(content)


@pytest.mark.parametrize("change", ["options", "train.py", "drawing/strokes.py"])
def test_the_name_of_a_checkpoint_depends_on_options_and_code(change, monkeypatch, tmp_path):
    folder = shutil.copytree(ROOT / "training", tmp_path / "training")
    monkeypatch.setattr(process, "__file__", str(folder / "process.py"))
    options = {"epochs": 4}
    before = process.checkpoint_path(tmp_path, options)
    assert process.checkpoint_path(tmp_path, {"epochs": 4}) == before
    if change == "options":
        options["epochs"] = 5
    else:
        with (folder / change).open("a") as file:
            file.write("HALF = 0\n")
    assert process.checkpoint_path(tmp_path, options) != before


def test_a_written_file_can_be_read_by_others_and_nothing_else_is_left(tmp_path):
    umask = os.umask(0o077)
    process.write_atomically(tmp_path / "model.onnx", b"new")
    os.umask(umask)
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]
    assert (tmp_path / "model.onnx").stat().st_mode & 0o777 == 0o644


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "model.onnx"
    process.write_atomically(path, b"old")
    monkeypatch.setattr(os, "fsync", Mock(side_effect=OSError(errno.EIO, "broken")))
    with pytest.raises(OSError, match=r"broken.*model.onnx"):
        process.write_atomically(path, b"new")
    assert {entry.name: entry.read_bytes() for entry in tmp_path.iterdir()} == {path.name: b"old"}


def test_what_killed_runs_left_behind_is_removed(tmp_path):
    (tmp_path / ".model.onnx.abc.tmp").write_bytes(b"half")
    (tmp_path / "model.onnx").write_bytes(b"whole")
    with process.locked_folder(tmp_path):
        assert {path.name for path in tmp_path.iterdir()} == {".lock", "model.onnx"}


@pytest.mark.parametrize(
    ("number", "code"),
    [(errno.ENOSPC, os.EX_CANTCREAT), (errno.EROFS, os.EX_CANTCREAT), (errno.EIO, os.EX_IOERR)],
)
def test_a_file_error_that_retrying_cannot_fix_has_an_exit_code_of_its_own(number, code):
    raises = pytest.raises(process.Failure, match="model.onnx")
    with raises as raised, process.explained_file_errors():
        raise OSError(number, "no", "model.onnx")
    assert raised.value.exit_code == code


def test_a_run_that_waits_says_so_and_can_be_ended(tmp_path):
    with process.locked_folder(tmp_path):
        run = start_training(tmp_path, "--dataset", "synthetic")
        line = run.stdout.readline()
        run.terminate()
        run.communicate(timeout=60)
    assert line == f"waiting for another process that is using {tmp_path}\n"
    assert run.returncode == 128 + signal.SIGTERM


def test_sigterm_ends_the_run_while_torch_is_imported(tmp_path):
    program = "print('importing', flush=True)\nimport time\ntime.sleep(60)"
    (tmp_path / "torch.py").write_text(program)
    run = start_training(tmp_path, PYTHONPATH=str(tmp_path))
    read_until(run, "importing")
    run.terminate()
    run.communicate(timeout=60)
    assert run.returncode == 128 + signal.SIGTERM  # not -SIGTERM, which PID 1 would ignore


@pytest.mark.parametrize(
    ("content", "count"),
    [("150000 100000", "1"), ("50000 100000", "1"), ("400000 100000", "4"), ("max 100000", None)],
)
def test_a_container_with_a_cpu_limit_gets_a_thread_for_each_whole_cpu(
    content, count, monkeypatch, tmp_path
):
    monkeypatch.setenv("OMP_NUM_THREADS", "")  # so that it is restored
    del os.environ["OMP_NUM_THREADS"]
    process.choose_thread_count(tmp_path / "none")
    assert "OMP_NUM_THREADS" not in os.environ
    (tmp_path / "cpu.max").write_text(content + "\n")
    process.choose_thread_count(tmp_path / "cpu.max")
    assert os.environ.get("OMP_NUM_THREADS") == count
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    process.choose_thread_count(tmp_path / "cpu.max")
    assert os.environ["OMP_NUM_THREADS"] == "3", "a setting of the user wins"
