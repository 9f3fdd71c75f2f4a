"""From weights to the published files: export, verification, metadata, the order of writing."""

import evaluate
import numpy as np
import onnxruntime
import publish
import pytest
import torch
from conftest import ROOT, same
from model import RECIPES, build_network, logits_of
from process import Failure
from small_training import small_data


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
        probabilities = publish.publish(network, small_data(), folder, 0.0, {"dataset": "none"})
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
    publish.publish(network, other, tmp_path, 0.0, {"dataset": "none"})
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


def test_a_model_below_the_floor_is_not_exported(network, tmp_path):
    with pytest.raises(Failure, match="below --min-accuracy 90.00%: nothing") as raised:
        publish.publish(network, small_data(), tmp_path, 0.9, {})
    assert raised.value.exit_code == 70
    assert list(tmp_path.iterdir()) == []


def test_a_crash_while_publishing_leaves_newer_weights_and_a_complete_old_model(
    network, tmp_path, monkeypatch
):
    predictor = publish.Predictor(network, 1.0)
    publish.write(tmp_path, predictor, b"old model")
    write = publish.write_atomically

    def crash(path, content):
        if path.name == "model.onnx":
            raise SystemExit
        write(path, content)

    monkeypatch.setattr(publish, "write_atomically", crash)
    newer = publish.Predictor(network, 2.0)
    with pytest.raises(SystemExit):
        publish.write(tmp_path, newer, b"new model")
    assert (tmp_path / "model.onnx").read_bytes() == b"old model"
    weights = torch.load(tmp_path / "mnist_cnn.pt", weights_only=True)
    assert weights["model_version"] == publish.content_version(newer)


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
    assert publish.calibrate(network, images, labels) > 2
