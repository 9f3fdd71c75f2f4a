"""The settings of train.py: what documents and e2e give to it is read by it."""

import re

import archives
import train
from manifest_files import DOCS
from programs import ROOT


def test_every_setting_that_docs_and_e2e_give_to_training_is_read_by_it(monkeypatch):
    texts = DOCS + "".join(path.read_text() for path in ROOT.glob("tests/e2e/*.sh"))
    given = set(re.findall(r'--from-literal[ =]"?([A-Z_]+)=', texts))
    given |= set(re.findall(r"set env --local .* ([A-Z_]+)=", texts))
    settings = {"DATASET": "synthetic", "EPOCHS": "3", "SEED": "7"}
    settings |= {"PREVIOUS": "True", "REPLACE": "True"}
    mirror = {"MNIST_MIRROR": "http://127.0.0.1:1/"}
    assert given == {*settings, *mirror}
    for name, value in (settings | mirror).items():
        monkeypatch.setenv(name, value)
    options = train.main.make_context("train.py", []).params
    assert {name: str(options[name.lower()]) for name in settings} == settings
    assert archives.mirrors("mnist", [])[0] == mirror["MNIST_MIRROR"]
