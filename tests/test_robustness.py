"""Training next to its own leftovers: checkpoints, locks, full disks, crashes, wrong data."""

import errno
import json
import os
import signal
import subprocess
import sys

import checkpoint
import dataset
import files
import onnx
import optimization
import publish
import pytest
import torch
from conftest import ROOT, same, start_training
from published import published_dataset
from recipes import RECIPES
from small_training import small_data
from tiny_model import model_bytes

CPU = torch.device("cpu")


def build():
    return optimization.build(RECIPES["default"], 0, CPU)


def saved_state(tmp_path):
    """The path of a checkpoint of build()'s network after a step, and its content."""
    network, sgd = build()
    loss = network(torch.randn(8, 1, 28, 28)).square().mean()
    loss.backward()
    sgd.step()
    path = checkpoint.path_of(tmp_path, "run")
    checkpoint.save(path, 7, network, sgd, [{"epoch": 1}])
    return path, torch.load(path, weights_only=True)


def test_a_checkpoint_restores_the_weights_the_momentum_the_step_and_the_metrics(tmp_path):
    path, state = saved_state(tmp_path)
    network, sgd, step, history = checkpoint.resume(path, build)
    assert same(network.state_dict(), state["network"])
    assert sgd.state_dict()["state"][0]["momentum_buffer"].abs().sum() > 0
    assert (step, history) == (7, [{"epoch": 1}])


def lose_the_last_layer(state):
    last = list(state["network"])[-1]
    state["network"][last] = torch.zeros(3)


def add_a_parameter_group(state):
    groups = state["optimizer"]["param_groups"]
    groups.append(dict(groups[0], params=[]))


@pytest.mark.parametrize(
    "damage",
    [lose_the_last_layer, add_a_parameter_group, lambda state: state.pop("step"), None],
    ids=["other weights", "two optimizer groups", "no step", "not a checkpoint"],
)
def test_an_unusable_checkpoint_leaves_no_trace_in_the_network(damage, tmp_path, capsys):
    path, state = saved_state(tmp_path)
    if damage:
        damage(state)
        torch.save(state, path)
    else:
        path.write_bytes(b"not a checkpoint")
    network, sgd, step, history = checkpoint.resume(path, build)
    assert "training from the start" in capsys.readouterr().out
    assert same(network.state_dict(), build()[0].state_dict())
    assert (len(sgd.state), step, history) == (0, 0, [])


@pytest.mark.parametrize("change", ["options", "source", "torch"])
def test_the_identity_of_a_run_depends_on_options_code_and_torch(change, monkeypatch, tmp_path):
    for name in (*checkpoint.SOURCES[:-1], "drawing/strokes.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes((ROOT / "training" / name).read_bytes())
    monkeypatch.setattr(checkpoint, "__file__", str(tmp_path / "checkpoint.py"))
    options = {"epochs": 4}
    before = checkpoint.run_id(options)
    assert checkpoint.run_id({"epochs": 4}) == before
    if change == "options":
        options["epochs"] = 5
    elif change == "source":
        with (tmp_path / "augment.py").open("a") as file:
            file.write("HALF = 0\n")
    else:
        monkeypatch.setattr(torch, "__version__", "9.9.9")
    assert checkpoint.run_id(options) != before


def test_every_module_that_decides_the_weights_is_part_of_the_identity():
    modules = {path.name for path in (ROOT / "training").glob("*.py")}
    files_and_results = {"checkpoint.py", "evaluate.py", "files.py", "model_card.py"}
    files_and_results |= {"plots.py", "publish.py"}
    no_effect = {"exit_codes.py", "mnist.py", "neighbours.py", "progress.py", "published.py"}
    no_effect |= {"signals.py", "testing_images.py", "threads.py"}
    # A checksum of the corrections is among the options.
    among_the_options = {"command_line.py", "corrections_files.py", "recipes.py"}
    sources = {name for name in checkpoint.SOURCES if "/" not in name}
    assert modules - files_and_results - no_effect - among_the_options == sources


def test_a_run_with_other_options_keeps_and_mentions_the_checkpoint(train_small, tmp_path, capsys):
    assert train_small("--min-accuracy", "1") == os.EX_SOFTWARE
    (path,) = (tmp_path / "out").glob("checkpoint-*.pt")
    content = path.read_bytes()
    assert train_small("--min-accuracy", "1", "--seed", "5") == os.EX_SOFTWARE
    assert f"keeping {path}" in capsys.readouterr().out
    assert path.read_bytes() == content


def test_a_loss_that_is_not_a_number_stops_the_training(train_small, tmp_path, monkeypatch, capsys):
    recipe = RECIPES["default"]._replace(peak_learning_rate=float("inf"))
    monkeypatch.setitem(RECIPES, "default", recipe)
    assert train_small() == os.EX_SOFTWARE
    assert "the loss became nan at step 2" in capsys.readouterr().err
    assert not list((tmp_path / "out").glob("checkpoint-*.pt"))


def test_decisions_use_the_held_out_images_and_not_the_test_images(main, monkeypatch, tmp_path):
    def wrong_test_labels(*_args):
        data = small_data()
        return data._replace(test_labels=(data.test_labels + 1) % 10)

    flags = ("--output-dir", str(tmp_path), "--epochs", "2", "--min-accuracy", "0")
    temperatures = []
    for load in (small_data, wrong_test_labels):
        monkeypatch.setattr(dataset, "load", load)
        assert main(*flags) == 0
        metadata = {p.key: p.value for p in onnx.load(tmp_path / "model.onnx").metadata_props}
        temperatures.append(metadata["temperature"])
    assert temperatures[0] == temperatures[1]
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert lines[-1]["held_out_accuracy"] == float(metadata["held_out_accuracy"])


def test_images_come_in_another_order_in_every_epoch():
    epochs = (dataset.batches(256, range(2 * e, 2 * e + 2), 2, 128, 0) for e in range(2))
    orders = [torch.cat([chosen for _, chosen in epoch]) for epoch in epochs]
    assert not torch.equal(*orders)
    assert all(sorted(order.tolist()) == list(range(256)) for order in orders)


def test_synthetic_training_does_not_replace_a_model_of_real_data_unless_told_to(
    train_small, tmp_path, monkeypatch, capsys
):
    model = tmp_path / "out" / "model.onnx"
    model.parent.mkdir()
    model.write_bytes(model_bytes("aaaaaaaaaaaa", dataset="mnist"))
    old = model.read_bytes()
    assert train_small("--dataset", "synthetic") == 2
    assert "add --replace" in capsys.readouterr().err
    assert model.read_bytes() == old
    assert train_small("--dataset", "synthetic", "--replace") == 0
    assert published_dataset(model) == "synthetic"


def test_a_second_run_waits_for_the_first_one(tmp_path):
    with files.locked(tmp_path / ".lock"):
        process = start_training(tmp_path, "--dataset", "synthetic", "--epochs", "1")
        line = process.stdout.readline()
        assert line == f"waiting for another process that is using {tmp_path}\n"
        assert process.poll() is None
    assert process.stdout.readline().startswith("training on")
    process.send_signal(signal.SIGKILL)
    process.communicate()
    with files.locked(tmp_path / ".lock"):
        pass  # a killed run leaves no lock behind


def test_a_waiting_run_can_be_ended(tmp_path):
    with files.locked(tmp_path / ".lock"):
        process = start_training(tmp_path, "--dataset", "synthetic")
        assert process.stdout.readline().startswith("waiting")
        process.terminate()
        process.communicate(timeout=60)
        assert process.returncode == 128 + signal.SIGTERM


def test_sigterm_ends_the_run_while_torch_is_imported(tmp_path):
    (tmp_path / "torch.py").write_text(
        "print('importing', flush=True)\nimport time\ntime.sleep(60)"
    )
    process = subprocess.Popen(
        [sys.executable, ROOT / "training" / "train.py"],
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "importing\n"
    process.terminate()
    process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM  # not -SIGTERM, which PID 1 would ignore


def test_a_full_disk_is_reported_with_the_name_of_the_file_and_is_not_retried(
    train_small,
    tmp_path,
    monkeypatch,
    capsys,
):
    def full(*_args):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    assert train_small() == os.EX_CANTCREAT
    error = capsys.readouterr().err
    assert "No space left on device" in error
    assert str(tmp_path / "out" / "metrics.jsonl") in error
    assert [path.name for path in (tmp_path / "out").iterdir()] == [".lock"]


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "model.onnx"
    files.write_atomically(path, b"old")
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(errno.EIO, "broken")))
    with pytest.raises(OSError, match="broken.*model.onnx"):
        files.write_atomically(path, b"new")
    assert {entry.name: entry.read_bytes() for entry in tmp_path.iterdir()} == {path.name: b"old"}


def test_leftovers_of_killed_runs_are_removed(train_small, tmp_path):
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / ".model.onnx.abc.tmp").write_bytes(b"half")
    (folder / ".publish.abc.tmp" / "files").mkdir(parents=True)
    (folder / ".publish.abc.tmp" / "files" / "model.onnx").write_bytes(b"half")
    assert train_small("--min-accuracy", "1") == os.EX_SOFTWARE
    assert not list(folder.glob(".*.tmp"))


@pytest.mark.parametrize("moment", range(1, 5))
def test_a_crash_while_publishing_never_leaves_files_of_two_models(moment, tmp_path, monkeypatch):
    old, new = ({"a.pt": text, "b.onnx": text} for text in (b"old", b"new"))
    files.publish_together(tmp_path, old)
    replace, calls = os.replace, []

    def crash(*args):
        calls.append(args)
        if len(calls) == moment + 1:  # two writes, the point of no return, two moves
            raise SystemExit
        replace(*args)

    monkeypatch.setattr(os, "replace", crash)
    with pytest.raises(SystemExit):
        files.publish_together(tmp_path, new)
    monkeypatch.undo()
    files.remove_temporary_files(tmp_path)
    files.finish_publishing(tmp_path)
    found = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert found == (new if moment >= 3 else old)


def test_the_published_bytes_are_the_verified_ones(train_small, tmp_path, monkeypatch):
    verified = []
    verify = publish.verify
    monkeypatch.setattr(
        publish, "verify", lambda model, *rest: (verified.append(model), verify(model, *rest))
    )
    assert train_small() == 0
    assert verified == [(tmp_path / "out" / "model.onnx").read_bytes()]
