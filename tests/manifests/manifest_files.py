"""Reads the Kubernetes files of the project, and the documents that repeat what they say."""

import copy
import re
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
# Prometheus's own files, *.yml, are not resources.
FILES = sorted((ROOT / "manifests").rglob("*.yaml"))
KIND = yaml.safe_load((ROOT / "kind-config.yaml").read_text())
KUBERNETES = re.search(r"kindest/node:v(\d+\.\d+)\.\d+", KIND["nodes"][0]["image"])[1]
README = (ROOT / "README.md").read_text()
DOCS = README + "".join(path.read_text() for path in sorted((ROOT / "docs").glob("*.md")))
CONTEXTS = {"mnist:train": "training", "mnist:inference": "inference"}


def dockerfile(image):
    return (ROOT / CONTEXTS[image] / "Dockerfile").read_text()


def variable(text, name):
    """Return the value that a Dockerfile's ENV gives a name."""
    return re.search(rf"\b{name}=(\S+)", text)[1]


def documents(path):
    """Return the resources in a YAML file as a list of dicts."""
    return list(yaml.safe_load_all(path.read_text()))


def fields(value, path=""):
    """Yield the path and the value of each field; the items of lists have names or numbers."""
    if isinstance(value, list):
        names = [
            item.get("name", i) if isinstance(item, dict) else i for i, item in enumerate(value)
        ]
        value = {f"[{name}]": item for name, item in zip(names, value, strict=True)}
    if isinstance(value, dict):
        for key, item in value.items():
            yield from fields(item, f"{path}.{key}")
    else:
        yield path, value


def differing(one, other):
    """Return the paths at which two resources differ."""
    return {path for path, _ in {*fields(one)} ^ {*fields(other)}}


def merged(patch, base):
    """Return `base` under a strategic merge patch; lists of named things are merged by name."""
    if isinstance(patch, dict):
        result = copy.deepcopy(base) if isinstance(base, dict) else {}
        for key, value in patch.items():
            if value is None:
                result.pop(key, None)
            else:
                result[key] = merged(value, result.get(key))
        return result
    if isinstance(patch, list) and all(isinstance(item, dict) and "name" in item for item in patch):
        by_name = {item["name"]: item for item in base or []}
        for item in patch:
            by_name[item["name"]] = merged(item, by_name.get(item["name"]))
        return list(by_name.values())
    return patch


def is_patch(path):
    """Return whether the file is a patch for one of the resources in manifests/."""
    return path.name.endswith("-patch.yaml")


INFERENCE = {d["kind"]: d for d in documents(ROOT / "manifests/inference.yaml")}
(CLAIM,) = documents(ROOT / "manifests/model-pvc.yaml")
PATCHED = {"Deployment": INFERENCE["Deployment"], "PersistentVolumeClaim": CLAIM}
RESOURCES = [
    (path, merged(doc, PATCHED[doc["kind"]]) if is_patch(path) else doc)
    for path in FILES
    for doc in documents(path)
    if path.name != "kustomization.yaml"
]


def pods(resource):
    """Return the specs of the Pods that a resource is or creates."""
    if resource["kind"] == "Pod":
        return [resource["spec"]]
    if resource["kind"] == "JobSet":
        jobs = [job["template"] for job in resource["spec"]["replicatedJobs"]]
        return [job["spec"]["template"]["spec"] for job in jobs]
    if resource["kind"] in ("Job", "Deployment"):
        return [resource["spec"]["template"]["spec"]]
    return []


PODS = [(path, pod) for path, resource in RESOURCES for pod in pods(resource)]
TRAINING = [(path, pod) for path, pod in PODS if pod["containers"][0]["image"] == "mnist:train"]


def name_of(value):
    """Return a test id: the file's name, or nothing for the rest."""
    return value.stem if isinstance(value, Path) else ""
