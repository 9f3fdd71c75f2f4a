"""What is said in more than one file agrees: images, ports, paths, names, settings, addresses.

YAML cannot share a fact with Python, a Dockerfile and the README; these tests do it for them.
"""

import ipaddress
import os
import re
import shutil
import subprocess

import mnist
import pytest
import train
import yaml
from app import create_app
from manifest_files import (
    CLUSTER_UP,
    FILES,
    INFERENCE,
    PODS,
    RESOURCES,
    ROOT,
    TRAINING,
    documents,
    is_patch,
    name_of,
)

DEPLOYMENT, SERVICE = INFERENCE["Deployment"], INFERENCE["Service"]
SERVER = DEPLOYMENT["spec"]["template"]["spec"]["containers"][0]
README = (ROOT / "README.md").read_text()
DOCS = README + "".join(path.read_text() for path in sorted((ROOT / "docs").glob("*.md")))
POOL = documents(ROOT / "manifests/cilium-ip-pool.yaml")[0]
VALUES = yaml.safe_load((ROOT / "samples/cilium-helm-values.yaml").read_text())
CONTEXTS = {"mnist:train": "training", "mnist:inference": "inference"}


def dockerfile(image):
    return (ROOT / CONTEXTS[image] / "Dockerfile").read_text()


def variable(text, name):
    """Return the value that a Dockerfile's ENV gives a name."""
    return re.search(rf"\b{name}=(\S+)", text)[1]


def python_sources(folder):
    return "".join(path.read_text() for path in sorted((ROOT / folder).glob("*.py")))


@pytest.mark.parametrize(("path", "pod"), PODS, ids=name_of)
def test_a_pod_runs_an_image_that_the_readme_builds_as_that_images_own_user(path, pod):
    for container in pod["containers"]:
        image = container["image"]
        assert re.search(rf"docker build .*-t {image} {CONTEXTS[image]}\b", README)
        assert re.search(rf"kind load docker-image .*{image}", README)
        user, group = pod["securityContext"]["runAsUser"], pod["securityContext"]["runAsGroup"]
        assert f"USER {user}:{group}\n" in dockerfile(image)


def test_all_training_files_run_the_same_container():
    assert len(TRAINING) == 4
    first = TRAINING[0][1]["containers"]
    assert [path.name for path, pod in TRAINING if pod["containers"] != first] == []


def test_training_can_write_where_its_image_wants_to_and_nowhere_else():
    text = dockerfile("mnist:train")
    wanted = {variable(text, "OUTPUT_DIR"), variable(text, "DATA_DIR"), "/tmp"}
    for _, pod in TRAINING:
        assert {mount["mountPath"] for mount in pod["containers"][0]["volumeMounts"]} == wanted


def test_the_server_reads_the_model_where_training_publishes_it_and_cannot_write_there():
    (mount,) = SERVER["volumeMounts"]
    assert mount["readOnly"] is True
    assert mount["mountPath"] == variable(dockerfile("mnist:train"), "OUTPUT_DIR")
    assert f'"{mount["mountPath"]}/model.onnx"' in python_sources("inference")


def test_every_claim_is_the_one_that_model_pvc_makes():
    (claim,) = documents(ROOT / "manifests/model-pvc.yaml")
    (shared,) = documents(ROOT / "manifests/beyond-one-node/model-pvc-rwx.yaml")
    volumes = [volume for _, pod in PODS for volume in pod["volumes"]]
    used = {
        v["persistentVolumeClaim"]["claimName"] for v in volumes if "persistentVolumeClaim" in v
    }
    assert used == {claim["metadata"]["name"]} == {shared["metadata"]["name"]}


def test_no_two_resources_of_a_kind_share_a_name():
    own = [d for path, d in RESOURCES if path.parent.name == "manifests"]
    names = [(d["kind"], d["metadata"]["name"]) for d in own]
    assert sorted(names) == sorted(set(names))


def test_the_servers_labels_are_what_everything_else_selects():
    labels = DEPLOYMENT["spec"]["template"]["metadata"]["labels"].items()
    (policy,) = documents(ROOT / "manifests/network-policy.yaml")
    (egress,) = documents(ROOT / "manifests/beyond-one-node/object-store-egress.yaml")
    (spread,) = DEPLOYMENT["spec"]["template"]["spec"]["topologySpreadConstraints"]
    for selector in (
        DEPLOYMENT["spec"]["selector"]["matchLabels"],
        SERVICE["spec"]["selector"],
        INFERENCE["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"],
        policy["spec"]["podSelector"]["matchLabels"],
        egress["spec"]["podSelector"]["matchLabels"],
        spread["labelSelector"]["matchLabels"],
    ):
        assert selector.items() <= labels
    (hpa,) = documents(ROOT / "manifests/inference-hpa.yaml")
    target = hpa["spec"]["scaleTargetRef"]
    assert (target["kind"], target["name"]) == ("Deployment", DEPLOYMENT["metadata"]["name"])


def test_the_port_is_the_same_in_gunicorn_image_container_service_policy_and_readme():
    (port,) = SERVER["ports"]
    (outside,) = SERVICE["spec"]["ports"]
    (policy,) = documents(ROOT / "manifests/network-policy.yaml")
    number = port["containerPort"]
    assert f"'PORT', '{number}'" in (ROOT / "inference/gunicorn.conf.py").read_text().replace(
        '"', "'"
    )
    assert f"EXPOSE {number}\n" in dockerfile("mnist:inference")
    assert (outside["port"], outside["targetPort"]) == (number, port["name"])
    assert policy["spec"]["ingress"] == [{"ports": [{"port": port["name"]}]}]
    address = SERVICE["metadata"]["annotations"]["lbipam.cilium.io/ips"]
    assert f"http://{address}:{number}/predict" in README


def test_the_services_address_is_in_the_pool_and_no_other_address_of_the_pool_is_promised():
    (block,) = POOL["spec"]["blocks"]
    address = SERVICE["metadata"]["annotations"]["lbipam.cilium.io/ips"]
    assert ipaddress.ip_address(address) in ipaddress.ip_network(block["cidr"])
    assert set(re.findall(r"172\.18\.255\.\d+", DOCS)) <= {address, block["cidr"].split("/")[0]}


def test_the_probes_ask_for_routes_that_the_server_has(tmp_path):
    rules = {rule.rule for rule in create_app(str(tmp_path / "none.onnx")).url_map.iter_rules()}
    probes = {name: SERVER[f"{name}Probe"]["httpGet"] for name in ("startup", "liveness")}
    probes["readiness"] = SERVER["readinessProbe"]["httpGet"]
    assert {probe["path"] for probe in probes.values()} <= rules
    assert probes["liveness"]["path"] != probes["readiness"]["path"]
    assert {probe["port"] for probe in probes.values()} == {SERVER["ports"][0]["name"]}


def test_a_servers_pause_and_its_grace_fit_into_the_time_that_a_pod_has_for_its_end():
    text = (ROOT / "inference/gunicorn.conf.py").read_text()
    graceful = int(re.search(r"graceful_timeout = (\d+)", text)[1])
    pause = SERVER["lifecycle"]["preStop"]["sleep"]["seconds"]
    pod = DEPLOYMENT["spec"]["template"]["spec"]
    assert pause + graceful < pod.get("terminationGracePeriodSeconds", 30)


def test_every_setting_that_docs_and_e2e_give_to_training_is_read_by_it(monkeypatch):
    texts = DOCS + (ROOT / "tests/e2e.sh").read_text()
    given = set(re.findall(r'--from-literal[ =]"?([A-Z_]+)=', texts))
    given |= set(re.findall(r"set env --local .* ([A-Z_]+)=", texts))
    settings = {"DATASET": "synthetic", "EPOCHS": "3", "SEED": "7"}
    mirror = {"MNIST_MIRROR": "http://127.0.0.1:1/"}
    assert given == {*settings, *mirror}
    for name, value in (settings | mirror).items():
        monkeypatch.setenv(name, value)
    options = train.main.make_context("train.py", []).params
    assert {name: str(options[name.lower()]) for name in settings} == settings
    assert mnist.mirrors()[0] == mirror["MNIST_MIRROR"]


def test_the_readmes_config_map_is_the_one_that_the_training_pods_read():
    (name,) = {
        ref["configMapRef"]["name"] for _, p in TRAINING for ref in p["containers"][0]["envFrom"]
    }
    assert set(re.findall(r"create configmap (\S+)", DOCS)) == {name}


def test_the_label_of_the_training_nodes_is_the_one_that_docs_and_e2e_give():
    affinities = [pod["affinity"] for _, pod in TRAINING if "affinity" in pod]
    assert len(affinities) == 3
    required = "requiredDuringSchedulingIgnoredDuringExecution"
    for affinity in affinities:
        (term,) = affinity["nodeAffinity"][required]["nodeSelectorTerms"]
        (wanted,) = term["matchExpressions"]
        label = f"{wanted['key']}={wanted['values'][0]}"
        assert f"kubectl label nodes kind-worker {label}" in README
        assert f" {label} " in (ROOT / "tests/e2e.sh").read_text()


def test_cilium_replaces_kube_proxy_exactly_where_kind_leaves_it_out():
    (kind,) = documents(ROOT / "kind-config.yaml")
    assert kind["networking"] == {"disableDefaultCNI": True, "kubeProxyMode": "none"}
    assert VALUES["kubeProxyReplacement"] is True
    (policy,) = documents(ROOT / "manifests/cilium-l2-policy.yaml")
    assert policy["spec"]["interfaces"] == [VALUES["devices"]]


def test_the_readmes_cilium_commands_have_the_values_and_the_version_of_the_project():
    version = re.search(r"cilium-(\d+\.\d+\.\d+)\.tgz", CLUSTER_UP)[1]
    assert set(re.findall(r"--version (1\.\d+\.\d+)", README)) == {version}
    node = re.search(r"kindest/node:v[\d.]+", CLUSTER_UP)[0]
    assert set(re.findall(r"kindest/node:v[\d.]+", README)) == {node}
    flat = {
        f"{key}.{inner}" if inner else key: str(setting).lower()
        for key, value in VALUES.items()
        for inner, setting in (value.items() if isinstance(value, dict) else [("", value)])
    }
    command = re.search(r"cilium install (?:.*\\\n)*.*", README)[0]
    assert dict(re.findall(r"--set (\S+)=(\S+)", command)) == flat


@pytest.mark.parametrize(
    "name", ["README.md", "docs/troubleshooting.md", "docs/beyond-one-node.md"]
)
def test_the_files_that_a_document_names_exist(name):
    text = (ROOT / name).read_text()
    own = re.findall(r"(?:manifests|samples|scripts|docs|tests)/[\w./*-]*\w\.\w+", text)
    assert [path for path in sorted(set(own)) if not [*ROOT.glob(path)]] == []


def test_every_manifest_is_named_in_the_readme_or_in_a_document():
    assert [path.name for path in FILES if path.name not in DOCS] == []


def test_every_patch_changes_the_servers_volume_and_not_a_new_one():
    patches = [(path, doc) for path, doc in RESOURCES if is_patch(path)]
    assert len(patches) == 2
    for _, doc in patches:
        (volume,) = doc["spec"]["template"]["spec"]["volumes"]
        assert volume["name"] == SERVER["volumeMounts"][0]["name"]
        assert "persistentVolumeClaim" not in volume


@pytest.mark.parametrize(
    ("subnet", "cidr"),
    [
        ("172.18.0.0/16", "172.18.255.200/29"),
        ("172.19.0.0/16", "172.19.255.200/29"),
        ("192.168.224.0/20", "192.168.239.200/29"),
        ("10.89.4.0/24", "10.89.4.200/29"),
    ],
)
def test_the_pool_moves_to_the_top_of_dockers_own_subnet(tmp_path, subnet, cidr):
    result = lb_apply(tmp_path, subnet)
    assert result.returncode == 0, result.stderr
    assert f"- cidr: {cidr}\n" in result.stdout
    assert f"lbipam.cilium.io/ips: {cidr.removesuffix('0/29')}1\n" in result.stdout
    assert ipaddress.ip_network(cidr).subnet_of(ipaddress.ip_network(subnet))


def test_a_subnet_with_no_room_beside_the_nodes_is_refused(tmp_path):
    result = lb_apply(tmp_path, "10.0.0.0/28")
    assert result.returncode == 1
    assert "10.0.0.0/28: too small" in result.stderr


def lb_apply(tmp_path, subnet):
    """Run scripts/lb-apply.sh with a docker that reports the subnet and a kubectl that prints."""
    for name, body in (("docker", f"printf 'fc00::/64\\n{subnet}\\n'"), ("kubectl", "cat")):
        (tmp_path / name).write_text(f"#!/bin/sh\n{body}\n")
        (tmp_path / name).chmod(0o755)
    return subprocess.run(
        ["scripts/lb-apply.sh", "manifests/cilium-ip-pool.yaml", "manifests/inference.yaml"],
        cwd=ROOT,
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.skipif(not shutil.which("shellcheck"), reason="shellcheck is not installed")
def test_the_shell_scripts_pass_shellcheck():
    scripts = [*ROOT.glob("*/*.sh")]
    result = subprocess.run(
        ["shellcheck", "-x", *scripts], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert result.stdout == ""
    assert len(scripts) >= 5
