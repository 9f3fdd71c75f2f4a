"""Training with two ranks: real processes, connected by gloo."""

import os
import signal
import socket
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import archives
import pytest
import ranks
import torch
import train
from mirror_writing import save_tar
from ports import free_port
from programs import ROOT
from publish import published_metadata
from small_training import small_data
from tiny_model import model_bytes
from torchvision.datasets import MNIST
from training_runs import start_training, training_environment

SMALL_TRAINING = ROOT / "tests" / "training" / "small_training.py"
# Two epochs of ten steps, without the slow export at the end.
FLAGS = ("--dataset", "synthetic", "--epochs", "2", "--min-accuracy", "1")


@pytest.fixture
def port():
    return free_port()


@pytest.fixture
def start_ranks(tmp_path, port):
    """start_ranks(flags, ...) starts a rank for each list of flags, as Kubernetes would.

    None instead of flags stands for a rank that is not started.
    """
    processes = []

    def start(*all_flags, script=SMALL_TRAINING):
        common = {"WORLD_SIZE": str(len(all_flags))}
        common |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        for rank, flags in enumerate(all_flags):
            if flags is not None:
                folder, own = tmp_path / str(rank), {"RANK": str(rank)}
                processes.append(start_training(folder, *flags, script=script, **common, **own))
        return processes

    yield start
    for process in processes:
        process.kill()
        process.communicate()


@pytest.fixture
def rank_alone(main, monkeypatch, tmp_path, port):
    """rank_alone(rank, *flags): one of two ranks in this process, which never meets the other."""
    monkeypatch.setattr(ranks, "TIMEOUT", timedelta(seconds=1))  # would end it with 75
    monkeypatch.setattr(MNIST, "mirrors", [])
    monkeypatch.setattr(archives, "BACKOFF_SECONDS", 0)
    for name, value in {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}.items():
        monkeypatch.setenv(name, str(value))

    def run(rank, *flags):
        monkeypatch.setenv("RANK", rank)
        return main("--output-dir", str(tmp_path / "out"), *flags)

    return run


def ends(processes):
    """The exit codes and the outputs of processes that are expected to end."""
    outputs = [process.communicate(timeout=300)[0] for process in processes]
    return [process.returncode for process in processes], outputs


def read_until(process, start):
    while not (line := process.stdout.readline()).startswith(start):
        assert process.poll() is None, line


def test_torchrun_trains_with_two_ranks_and_publishes_once(tmp_path):
    torchrun = Path(sys.executable).with_name("torchrun")
    command = [torchrun, "--standalone", "--nproc-per-node", "2", SMALL_TRAINING]
    command += ["--output-dir", tmp_path, "--epochs", "1", "--min-accuracy", "0"]
    environment = training_environment()
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr
    words = [line.split()[0] for line in result.stdout.splitlines()]
    assert words == ["training", "epoch", "held-out", "published"]
    metadata = published_metadata(tmp_path / "model.onnx")
    assert metadata["trained_on"] == "cpu, 1 threads, 2 ranks"


def test_a_signal_to_one_rank_ends_both_and_one_rank_alone_resumes(start_ranks, tmp_path):
    flags = (*FLAGS, "--epochs", "4")
    processes = start_ranks(flags, flags)
    read_until(processes[0], "epoch 1/4")
    processes[1].send_signal(signal.SIGTERM)
    codes, outputs = ends(processes)
    assert codes == [128 + signal.SIGTERM] * 2, outputs
    assert "run the same command to resume" in outputs[0]
    assert outputs[1] == ""
    assert [path.name for path in (tmp_path / "1").glob("*")] == [], "only rank 0 writes"
    (code,), (output,) = ends([start_training(tmp_path / "0", *flags, script=SMALL_TRAINING)])
    assert code == os.EX_SOFTWARE, output
    assert "resuming from" in output
    assert "epoch 4/4" in output


def test_a_rank_with_other_options_ends_with_2_and_the_others_are_retried(start_ranks):
    codes, outputs = ends(start_ranks(FLAGS, (*FLAGS, "--seed", "1")))
    assert codes == [os.EX_TEMPFAIL, 2], outputs
    assert "rank 1 has other options or other code than rank 0" in outputs[1]
    assert "rank 0 has lost another rank" in outputs[0]


@pytest.mark.parametrize("rank", ["0", "1"])
@pytest.mark.parametrize(
    ("variable", "value", "code"),
    [
        ("EPOCHS", "none", 2),
        ("MNIST_MIRROR", "ftp://x", 2),
        ("MNIST_MIRROR", "http://127.0.0.1:1", os.EX_UNAVAILABLE),
    ],
)
def test_what_is_wrong_for_all_ranks_ends_each_before_it_waits(
    rank, variable, value, code, rank_alone, monkeypatch, tmp_path
):
    monkeypatch.setenv(variable, value)
    assert rank_alone(rank, "--data-dir", str(tmp_path / "data")) == code


def test_what_only_rank_0_can_check_ends_it_before_it_waits(rank_alone, monkeypatch, tmp_path):
    monkeypatch.setattr(train, "load_dataset", small_data)
    (tmp_path / "bad.tar").write_bytes(b"bad" * 500)
    assert rank_alone("0", "--corrections", str(tmp_path / "bad.tar")) == os.EX_DATAERR
    assert rank_alone("0", "--output-dir", "/dev/null/out") == os.EX_CANTCREAT


def test_the_other_ranks_get_the_corrections_from_rank_0(start_ranks, tmp_path):
    corrections = str(save_tar(tmp_path / "corrections.tar"))
    (tmp_path / "0").mkdir()
    model = model_bytes("aaaaaaaaaaaa", dataset="synthetic")
    (tmp_path / "0" / "model.onnx").write_bytes(model)
    codes, outputs = ends(start_ranks((*FLAGS, "--corrections", corrections), FLAGS))
    assert "held-back corrections read correctly" in outputs[0]
    assert codes == [os.EX_SOFTWARE, os.EX_TEMPFAIL], outputs


FULL_DISK = f"""
import errno, os, sys
sys.path.insert(0, {str(SMALL_TRAINING.parent)!r})
import small_training, train
def full(*_):
    raise OSError(errno.ENOSPC, "No space left on device")
train.load_dataset, os.fsync = small_training.small_data, full
train.main()
"""


def test_a_full_disk_ends_rank_0_with_its_own_exit_code_and_the_others_are_retried(
    start_ranks, tmp_path
):
    script = tmp_path / "train_on_a_full_disk.py"
    script.write_text(FULL_DISK)
    codes, outputs = ends(start_ranks(FLAGS, FLAGS, script=script))
    assert codes == [os.EX_CANTCREAT, os.EX_TEMPFAIL], outputs
    assert "No space left on device" in outputs[0]


def test_a_rank_whose_peer_is_killed_ends_with_a_code_that_is_retried(start_ranks):
    flags = (*FLAGS, "--epochs", "1000")
    processes = start_ranks(flags, flags)
    read_until(processes[0], "epoch 1/")
    processes[1].kill()
    codes, outputs = ends(processes)
    assert codes == [os.EX_TEMPFAIL, -signal.SIGKILL], outputs
    assert "rank 0 has lost another rank" in outputs[0]


def test_a_rank_that_waits_for_the_others_can_be_ended(start_ranks, port):
    with socket.create_server(("127.0.0.1", port)) as server:  # accepts, and never answers
        (process,) = start_ranks(None, FLAGS)
        server.settimeout(300)
        connection, _ = server.accept()
        with connection:
            process.terminate()
            codes, outputs = ends([process])
    assert codes == [128 + signal.SIGTERM], outputs


def test_too_many_ranks_for_a_batch_are_refused(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "9")
    with pytest.raises(Exception, match="use at most 8 ranks"):
        ranks.check_share(128)


def test_the_statistics_of_batch_normalisation_become_their_mean_over_the_ranks(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(ranks.dist, "all_reduce", lambda tensor: tensor.mul_(2))  # of equal ranks
    mean, batches = torch.tensor([3.0]), torch.tensor(7)
    ranks.average([mean, batches])
    assert (mean.item(), batches.item()) == (3, 7)
