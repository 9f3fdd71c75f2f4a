"""Training with two ranks: real processes, connected by gloo."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import dataset
import distributed
import pytest
import torch
from conftest import TRAIN, start_training, training_environment
from mirror_writing import save_tar
from ports import free_port
from published import published_metadata

FLAGS = ("--dataset", "synthetic", "--epochs", "2")


@pytest.fixture
def port():
    return free_port()


@pytest.fixture
def start_ranks(tmp_path, port):
    """start_ranks(flags, ...) starts a rank for each list of flags, as Kubernetes would.

    None instead of flags stands for a rank that is not started.
    """
    processes = []

    def start(*all_flags):
        for rank, flags in enumerate(all_flags):
            if flags is None:
                continue
            variables = {"RANK": str(rank), "WORLD_SIZE": str(len(all_flags))}
            variables |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
            processes.append(start_training(tmp_path / str(rank), *flags, **variables))
        return processes

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def ends(processes):
    """The exit codes and the outputs of processes that are expected to end."""
    outputs = [process.communicate(timeout=120)[0] for process in processes]
    return [process.returncode for process in processes], outputs


def read_until(process, start):
    while not (line := process.stdout.readline()).startswith(start):
        assert process.poll() is None, line


def test_torchrun_trains_with_two_ranks_and_publishes_once(tmp_path):
    torchrun = Path(sys.executable).with_name("torchrun")
    command = [torchrun, "--standalone", "--nproc-per-node", "2", TRAIN]
    result = subprocess.run(
        [*command, "--output-dir", tmp_path, "--dataset", "synthetic", "--epochs", "1"],
        env=training_environment(),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert result.returncode == 0, result.stderr
    assert [line.split()[0] for line in result.stdout.splitlines()] == [
        *("training", "epoch", "held-out", "published")
    ]
    metadata = published_metadata(tmp_path / "model.onnx")
    assert metadata["trained_on"] == "cpu, 1 threads, 2 ranks"
    assert float(metadata["held_out_accuracy"]) > 0.9  # 99.1 % was measured


def test_a_signal_to_one_rank_ends_both_and_one_rank_alone_resumes(start_ranks, tmp_path):
    processes = start_ranks(FLAGS, FLAGS)
    read_until(processes[0], "epoch 1/2")
    processes[1].send_signal(signal.SIGTERM)
    codes, outputs = ends(processes)
    assert codes == [128 + signal.SIGTERM] * 2, outputs
    assert "run the same command to resume" in outputs[0]
    assert outputs[1] == ""
    assert [path.name for path in (tmp_path / "1").glob("*")] == [], "only rank 0 writes"
    alone = start_training(tmp_path / "0", *FLAGS)
    (code,), (output,) = ends([alone])
    assert code == 0, output
    assert "resuming from" in output
    assert "epoch 2/2" in output


def test_a_rank_with_other_options_ends_all_with_2(start_ranks):
    codes, outputs = ends(start_ranks(FLAGS, (*FLAGS, "--seed", "1")))
    assert codes == [2, 2], outputs
    assert "rank 1 has other options or other code than rank 0" in outputs[1]
    assert "rank 0 ends because another rank has failed" in outputs[0]


def test_only_rank_0_needs_the_corrections(start_ranks, tmp_path):
    corrections = str(save_tar(tmp_path / "corrections.tar"))
    dry = ("--dataset", "synthetic", "--dry-run")
    codes, outputs = ends(start_ranks((*dry, "--corrections", corrections), dry))
    assert "held-back corrections read correctly" in outputs[0]
    # After so few steps the accuracy may rise or fall.
    assert codes in ([os.EX_OK] * 2, [os.EX_SOFTWARE] * 2), outputs


def test_an_error_of_rank_0_ends_all_with_its_exit_code(start_ranks, tmp_path):
    (tmp_path / "0").symlink_to("/dev/null/out")
    codes, outputs = ends(start_ranks(FLAGS, FLAGS))
    assert codes == [os.EX_CANTCREAT] * 2, outputs
    assert "cannot write to the output folder" in outputs[0]


def test_a_rank_whose_peer_is_killed_ends_with_a_code_that_is_retried(start_ranks):
    processes = start_ranks(FLAGS, FLAGS)
    read_until(processes[0], "training on")
    processes[1].kill()
    codes, outputs = ends(processes)
    assert codes == [os.EX_TEMPFAIL, -signal.SIGKILL], outputs
    assert "rank 0 has lost another rank" in outputs[0]


def test_a_rank_that_waits_for_the_others_can_be_ended(start_ranks, port):
    with socket.create_server(("127.0.0.1", port)) as server:  # accepts, and never answers
        (process,) = start_ranks(None, FLAGS)
        server.settimeout(120)
        connection, _ = server.accept()
        with connection:
            process.terminate()
            codes, outputs = ends([process])
    assert codes == [128 + signal.SIGTERM], outputs


def test_two_ranks_share_the_images_of_a_step_and_draw_other_random_numbers(monkeypatch):
    def step(**variables):
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        ((_, indices),) = dataset.batches(1000, range(1), per_epoch=1, batch=128, seed=0)
        return indices.tolist(), torch.rand(3).tolist()

    whole, numbers = step()
    shares = [step(RANK=rank, WORLD_SIZE="2") for rank in ("0", "1")]
    assert sorted(shares[0][0] + shares[1][0]) == sorted(whole)
    assert shares[0][1] == numbers
    assert shares[1][1] != numbers


def test_too_many_ranks_for_a_batch_are_refused(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "9")
    with pytest.raises(Exception, match="use at most 8 ranks"):
        distributed.check_share(128)
