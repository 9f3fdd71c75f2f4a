"""The pictures of MNIST's test set, made here from a small set of IDX archives of our own."""

import numpy as np
import testing_images
from click.testing import CliRunner
from drawing.synthetic import draw_digits
from idx_files import expect_archives, save
from PIL import Image
from torchvision.datasets import MNIST

LABELS = [7, 2, 1, 0, 4, 1, 4, 9, 5, 9, 0, 6]


def run(data_dir, target):
    return CliRunner().invoke(testing_images.main, [str(data_dir), str(target)])


def test_each_test_image_is_a_jpeg_named_by_its_label_and_its_place(tmp_path, monkeypatch):
    images, target = draw_digits(len(LABELS), seed=5)[0], tmp_path / "new" / "testing"
    training = np.full((3, 28, 28), 99), np.array([8, 8, 8])
    save(tmp_path, expect_archives(MNIST, (*training, images, np.array(LABELS)), monkeypatch))
    assert run(tmp_path, target).exit_code == 0
    assert len(list(target.rglob("*.*"))) == 12
    for index, (image, label) in enumerate(zip(images, LABELS, strict=True)):
        with Image.open(target / str(label) / f"{index}.jpg") as picture:
            assert (picture.format, picture.mode, picture.size) == ("JPEG", "L", (28, 28))
            difference = np.asarray(picture, float) - image
        assert np.sqrt((difference**2).mean()) < 5  # of 255


def test_without_mnist_the_exit_code_is_that_of_training(tmp_path, monkeypatch):
    monkeypatch.setenv("MNIST_MIRROR", "ftp://x")
    assert run(tmp_path / "none", tmp_path / "testing").exit_code == 2
    assert not (tmp_path / "testing").exists()
