"""Training with two ranks: real processes, connected by gloo."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import distributed
import pytest
from conftest import ROOT, TRAINING_VARIABLES, start_training
from published import published_metadata

FLAGS = ("--dataset", "synthetic", "--epochs", "2")


def environment(**more):
    inherited = {name: text for name, text in os.environ.items() if name not in TRAINING_VARIABLES}
    return {**inherited, "OMP_NUM_THREADS": "1", **more}


@pytest.fixture
def start_ranks(tmp_path):
    """start_ranks(flags, ...) starts a rank for each list of flags, as Kubernetes would."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    processes = []

    def start(*all_flags):
        for rank, flags in enumerate(all_flags):
            variables = {"RANK": str(rank), "WORLD_SIZE": str(len(all_flags))}
            variables |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
            command = [sys.executable, ROOT / "training" / "train.py", *flags]
            process = subprocess.Popen(
                [*command, "--output-dir", tmp_path / str(rank)],
                env=environment(**variables),
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            processes.append(process)
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
    command = [torchrun, "--standalone", "--nproc-per-node", "2", ROOT / "training" / "train.py"]
    result = subprocess.run(
        [*command, "--output-dir", tmp_path, "--dataset", "synthetic", "--epochs", "1"],
        env=environment(),
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
    assert float(metadata["held_out_accuracy"]) > 0.98  # 99.1 % was measured


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


def test_an_error_of_rank_0_ends_all_with_its_exit_code(start_ranks, tmp_path):
    (tmp_path / "0").write_text("a file instead of the output folder")
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


def test_too_many_ranks_for_a_batch_are_refused(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "9")
    with pytest.raises(Exception, match="use at most 8 ranks"):
        distributed.check_share(128)
