"""From weights to the published files: export, verification, metadata, the order of writing."""

import errno
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from unittest.mock import Mock

import click
import evaluate
import numpy as np
import onnxruntime
import publish
import pytest
import torch
from gunicorn_server import running_tiny
from model import RECIPES, build_network, logits_of
from process import Failure
from programs import ROOT
from small_training import small_data
from soak import FIRST, SECOND, client
from tiny_model import model_bytes
from training_runs import same


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return build_network(RECIPES["default"].channels).eval()


@pytest.fixture(scope="module")
def published(network, tmp_path_factory):
    """A folder with the files of an untrained network, its probabilities, what was verified."""
    folder, verified, verify = tmp_path_factory.mktemp("published"), [], publish.verify
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(publish, "verify", lambda m, *rest: (verified.append(m), verify(m, *rest)))
        probabilities = publish.publish(network, small_data(), {"dataset": "none"}, folder)
    return folder, probabilities, verified


def test_the_model_file_gives_the_probabilities_of_the_weights(network, published):
    folder, probabilities, _ = published
    session = onnxruntime.InferenceSession(folder / "model.onnx")
    temperature = float(session.get_modelmeta().custom_metadata_map["temperature"])
    images = small_data().test
    expected = torch.softmax(logits_of(network, images) / temperature, dim=1).detach().numpy()
    actual = session.run(None, {"image": images.numpy()})[0]
    np.testing.assert_allclose(actual, expected, atol=1e-3)
    np.testing.assert_allclose(actual, probabilities, atol=1e-4)


def test_both_files_have_the_model_version(network, published):
    folder = published[0]
    weights = torch.load(folder / "mnist_cnn.pt", weights_only=True)
    version = publish.published_metadata(folder / "model.onnx")["model_version"]
    assert weights["model_version"] == version
    assert len(version) == 12
    assert same(weights["network"], network.state_dict())


def test_the_temperature_and_the_version_do_not_depend_on_the_test_images(
    network, published, tmp_path
):
    data = small_data()
    other = data._replace(test_labels=(data.test_labels + 1) % 10, test=255 - data.test)
    publish.publish(network, other, {}, tmp_path)
    one, two = (publish.published_metadata(f / "model.onnx") for f in (published[0], tmp_path))
    assert one["temperature"] == two["temperature"]
    assert one["model_version"] == two["model_version"]
    assert one["test_accuracy"] != two["test_accuracy"]


def test_other_weights_or_another_temperature_are_another_version(network):
    version = publish.content_version(publish.Predictor(network, 1.0))
    assert publish.content_version(publish.Predictor(network, 1.1)) != version
    torch.manual_seed(1)
    other = build_network(RECIPES["default"].channels)
    assert publish.content_version(publish.Predictor(other, 1.0)) != version


def test_a_model_that_onnxruntime_answers_differently_is_refused(network, published):
    model = (published[0] / "model.onnx").read_bytes()
    images = small_data().test.numpy()
    publish.verify(model, published[1], images)
    with pytest.raises(Failure, match="differs from PyTorch by") as raised:
        publish.verify(model, published[1][:, ::-1], images)
    assert raised.value.exit_code == 70


def test_a_crash_while_publishing_leaves_newer_weights_and_a_complete_old_model(
    network, tmp_path, monkeypatch
):
    publish.write(tmp_path, network, b"old model", FIRST)
    monkeypatch.setattr(publish, "write_atomically", Mock(side_effect=SystemExit))
    with pytest.raises(SystemExit):
        publish.write(tmp_path, network, b"new model", SECOND)
    assert (tmp_path / "model.onnx").read_bytes() == b"old model"
    weights = torch.load(tmp_path / "mnist_cnn.pt", weights_only=True)
    assert weights["model_version"] == SECOND


def test_the_published_bytes_are_the_verified_ones_without_a_path_of_this_machine(published):
    folder, _, verified = published
    model = (folder / "model.onnx").read_bytes()
    assert verified == [model]
    assert str(ROOT).encode() not in model


def test_a_network_that_is_sure_of_pictures_unlike_the_held_out_ones_gets_a_high_temperature():
    class SureOfThree(torch.nn.Module):
        def forward(self, pixels):
            return 10 * torch.eye(10)[3].repeat(len(pixels), 1)

    images, labels = torch.zeros(300, 28, 28, dtype=torch.uint8), torch.full((300,), 3)
    network = SureOfThree()
    assert evaluate.fit_temperature(logits_of(network, images), labels) < 0.5
    data = small_data()._replace(held_out=images, held_out_labels=labels)
    assert publish.calibrate(network, data) > 2
    data = data._replace(non_digits=data.non_digits[:0])
    assert publish.calibrate(network, data) < 0.5, "a training without drawn images"


def version_of(path):
    return publish.published_metadata(path).get("model_version")


def test_the_model_that_is_replaced_is_kept_and_can_be_served_again_back_and_forth(
    network, tmp_path
):
    model, previous = tmp_path / "model.onnx", tmp_path / "model.previous.onnx"
    publish.write(tmp_path, network, model_bytes(FIRST), FIRST)
    assert not previous.exists()
    publish.write(tmp_path, network, model_bytes(SECOND), SECOND)
    publish.write(tmp_path, network, model_bytes(SECOND), SECOND)  # does not replace anything
    for _ in range(2):
        assert (version_of(model), version_of(previous)) == (SECOND, FIRST)
        assert publish.restore_previous(tmp_path) == FIRST
        assert (version_of(model), version_of(previous)) == (FIRST, SECOND)
        assert publish.restore_previous(tmp_path) == SECOND
    assert {path.name for path in tmp_path.glob("*.onnx")} == {model.name, previous.name}


def test_without_a_previous_model_nothing_changes(tmp_path):
    (tmp_path / "model.onnx").write_bytes(model_bytes(FIRST))
    with pytest.raises(click.UsageError, match="no model.previous.onnx in"):
        publish.restore_previous(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]


@pytest.mark.parametrize(
    "action",
    [
        lambda folder, network: publish.write(folder, network, b"new", "another"),
        lambda folder, _network: publish.restore_previous(folder),
    ],
    ids=["publish", "restore"],
)
def test_on_a_full_disk_the_same_model_is_served(network, tmp_path, monkeypatch, action):
    contents = {"model.onnx": model_bytes(FIRST), "model.previous.onnx": model_bytes(SECOND)}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)

    full = Mock(side_effect=OSError(errno.ENOSPC, "No space left on device"))
    monkeypatch.setattr(publish, "write_atomically", full)
    with pytest.raises(OSError, match="No space left"):
        action(tmp_path, network)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == contents


def test_going_back_and_forth_under_load_loses_no_request(tmp_path):
    (tmp_path / "model.onnx").write_bytes(model_bytes(FIRST))
    (tmp_path / "model.previous.onnx").write_bytes(model_bytes(SECOND, reverse=True))
    with running_tiny(tmp_path, WEB_CONCURRENCY="2") as server, ThreadPoolExecutor(2) as pool:
        stopped = threading.Event()
        asking = [pool.submit(client, server, 10**6, stopped) for _ in range(2)]
        try:
            for _ in range(10):
                served = publish.restore_previous(tmp_path)
                while server.ask("GET", "/readyz")[1]["model_version"] != served:
                    assert server.process.poll() is None
        finally:
            stopped.set()
        outcomes = asking[0].result() + asking[1].result()
    assert set(outcomes) == {"ok"}


@pytest.fixture
def published_worse(network, tmp_path, monkeypatch):
    """Publishes a network of accuracy 0.1 or so where one that reads everything is published."""
    (tmp_path / "model.onnx").write_bytes(model_bytes(FIRST))
    data = small_data()
    labels = data.held_out_labels.numpy()
    monkeypatch.setattr(publish, "probabilities_of", lambda model, images: np.eye(10)[labels])
    monkeypatch.setattr(publish, "verify", lambda *arguments: None)
    return lambda **options: publish.publish(network, data, {}, tmp_path, **options)


def test_a_model_clearly_worse_than_the_one_it_would_replace_is_refused(published_worse, tmp_path):
    message = (
        r"accuracy \d+\.\d+% is clearly below the 100\.00% of .*: nothing published.*--replace"
    )
    with pytest.raises(Failure, match=message) as raised:
        published_worse()
    assert raised.value.exit_code == 70
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]
    published_worse(replace=True)
    assert version_of(tmp_path / "model.previous.onnx") == FIRST


def test_a_model_slightly_worse_replaces_the_other_and_one_that_cannot_be_run_does_not_count(
    tmp_path, monkeypatch
):
    data, model = small_data(), tmp_path / "model.onnx"
    labels = data.held_out_labels.numpy()
    nothing_right = np.zeros(len(labels), bool)
    publish.check_not_worse(model, data, nothing_right)
    for content in (b"not a model", model_bytes(FIRST, shape=["N", 14, 56])):
        model.write_bytes(content)
        publish.check_not_worse(model, data, nothing_right)
    model.write_bytes(model_bytes(FIRST))
    monkeypatch.setattr(publish, "probabilities_of", lambda model, images: np.eye(10)[labels])
    for mistakes, refused in ((9, False), (10, True)):
        right = np.arange(len(labels)) >= mistakes
        with pytest.raises(Failure) if refused else nullcontext():
            publish.check_not_worse(model, data, right)
