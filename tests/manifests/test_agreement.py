"""Facts that appear in more than one file agree: images, ports, addresses, labels, versions."""

import re

import pytest
import yaml
from manifest_files import (
    CONTEXTS,
    DOCS,
    FILES,
    INFERENCE,
    KIND,
    README,
    RESOURCES,
    ROOT,
    dockerfile,
    documents,
    fields,
    variable,
)

DEPLOYMENT, SERVICE = INFERENCE["Deployment"], INFERENCE["Service"]
SERVER = DEPLOYMENT["spec"]["template"]["spec"]["containers"][0]
VALUES = yaml.safe_load((ROOT / "samples/cilium-helm-values.yaml").read_text())
WORKFLOW = (ROOT / ".github/workflows/ci.yaml").read_text()


def test_the_server_reads_the_model_where_training_publishes_it_and_cannot_write_there():
    (mount,) = SERVER["volumeMounts"]
    assert mount["readOnly"] is True
    assert mount["mountPath"] == variable(dockerfile("mnist:train"), "OUTPUT_DIR")
    assert f'"{mount["mountPath"]}/model.onnx"' in (ROOT / "inference/app.py").read_text()


def test_every_selector_selects_pods_of_the_project_and_the_autoscaler_the_servers():
    given, asked = set(), set()
    for _, resource in RESOURCES:
        for place, value in fields(resource):
            if re.search(r"\.template\.metadata\.labels\.", place):
                given.add((place.rpartition("labels.")[2], value))
            elif found := re.search(r"elector\.(?:matchLabels\.)?(app\.kubernetes\.io/.*)", place):
                asked.add((found[1], value))
    assert ("app.kubernetes.io/name", "mnist-inference") in asked <= given
    (hpa,) = documents(ROOT / "manifests/autoscaling/inference-hpa.yaml")
    target = hpa["spec"]["scaleTargetRef"]
    assert (target["kind"], target["name"]) == ("Deployment", DEPLOYMENT["metadata"]["name"])


def test_the_ports_are_the_same_in_gunicorn_image_container_service_policy_and_readme():
    port, metrics = SERVER["ports"]
    (outside,) = SERVICE["spec"]["ports"]
    number = port["containerPort"]
    assert f"'PORT', '{number}'" in (ROOT / "inference/gunicorn.conf.py").read_text()
    assert f"EXPOSE {number}\n" in dockerfile("mnist:inference")
    assert (outside["port"], outside["targetPort"]) == (number, port["name"])
    _, policy, _ = documents(ROOT / "manifests/network-policy.yaml")
    assert policy["spec"]["ingress"] == [{"ports": [{"port": port["name"]}]}]
    (policy,) = documents(ROOT / "manifests/monitoring/network-policy.yaml")[:1]
    assert policy["spec"]["ingress"][0]["ports"] == [{"port": metrics["name"]}]
    assert f"http://172.18.255.201:{number}/predict" in README
    assert {"name": "METRICS_PORT", "value": str(metrics["containerPort"])} in SERVER["env"]
    config = (ROOT / "manifests/monitoring/config/prometheus.yml").read_text()
    assert f"regex: {metrics['name']}\n" in config


def test_only_readiness_depends_on_the_model():
    paths = {"startup": "/healthz", "liveness": "/healthz", "readiness": "/readyz"}
    for name, path in paths.items():
        assert SERVER[f"{name}Probe"]["httpGet"] == {"path": path, "port": "http"}


def test_a_servers_pause_and_its_grace_fit_into_the_time_that_a_pod_has_for_its_end():
    text = (ROOT / "inference/gunicorn.conf.py").read_text()
    graceful = int(re.search(r"graceful_timeout = (\d+)", text)[1])
    pause = SERVER["lifecycle"]["preStop"]["sleep"]["seconds"]
    pod = DEPLOYMENT["spec"]["template"]["spec"]
    assert pause + graceful < pod.get("terminationGracePeriodSeconds", 30)


def test_the_flags_of_ciliums_cli_and_the_helm_values_say_the_same():
    (command,) = re.findall(r"^cilium install((?:.*\\\n)*.*)\n", README, re.M)
    values = {key: value for key, value in VALUES.items() if not key.startswith("k8sService")}
    assert dict(re.findall(r"--set (\S+)=(\S+)", command)) == {
        "kubeProxyReplacement": str(values.pop("kubeProxyReplacement")).lower(),
        "l2announcements.enabled": str(values.pop("l2announcements")["enabled"]).lower(),
        "ipam.mode": values.pop("ipam")["mode"],
        "devices": f"'{{{','.join(values.pop('devices'))}}}'",
    }
    assert values == {}


def test_the_versions_that_the_commands_install_are_those_that_the_readme_says_were_run():
    kind, kubernetes, cilium = re.search(
        r"kind (\d\S+), Kubernetes (\d\S+) \(.*?\), Cilium (\d\S+), kubectl", README
    ).groups()
    (image,) = {node["image"] for node in KIND["nodes"]}
    assert re.fullmatch(rf"kindest/node:v{kubernetes}@sha256:\w{{64}}", image)
    cluster_up = (ROOT / "scripts/cluster-up.sh").read_text()
    assert f"cilium-{cilium}.tgz" in cluster_up
    assert re.findall(r"--version (\S+)", README) == [cilium, cilium]
    assert f"sigs.k8s.io/kind@v{kind} " in WORKFLOW


def test_every_action_of_the_workflow_is_pinned_to_a_commit():
    actions = re.findall(r"uses: *(\S+)", WORKFLOW)
    assert actions
    assert [each for each in actions if not re.search(r"@[0-9a-f]{40}$", each)] == []


def test_the_files_that_a_document_names_and_links_to_exist():
    for path in [ROOT / "Makefile", *ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]:
        text = path.read_text()
        own = re.findall(r"(?:manifests|samples|scripts|docs|tests|bench)/[\w./*-]*\w\.\w+", text)
        assert [each for each in sorted(set(own)) if not [*ROOT.glob(each)]] == [], path
        links = re.findall(r"\]\((?!http)([^)#]*)", text)
        assert [each for each in links if not (path.parent / each).exists()] == [], path


def test_every_file_in_the_manifests_folder_is_named_in_a_document():
    assert [
        path.name for path in FILES if path.parent.name == "manifests" and path.name not in DOCS
    ] == []


def test_the_kustomization_for_any_cluster_replaces_both_images():
    text = (ROOT / "docs/any-cluster.md").read_text()
    first, *patches = (yaml.safe_load(b) for b in re.findall(r"```yaml\n(.*?)```", text, re.S))
    assert {image["name"] for image in first["images"]} == {*CONTEXTS}
    for folder in first["resources"]:
        assert (ROOT / "docs" / folder / "kustomization.yaml").exists()
    names = {(doc["kind"], doc["metadata"]["name"]) for _, doc in RESOURCES}
    for each in (*patches[0]["patches"], *patches[1]):
        assert (each["target"]["kind"], each["target"]["name"]) in names


@pytest.mark.parametrize("image", CONTEXTS)
def test_docker_sends_exactly_what_the_dockerfile_copies(image):
    copied = re.findall(r"^COPY (.*) \S+$", dockerfile(image), re.M)
    ignored = (ROOT / CONTEXTS[image] / ".dockerignore").read_text()
    assert sorted(re.findall(r"^!(\S+)$", ignored, re.M)) == sorted(" ".join(copied).split())


def test_every_volume_patch_changes_the_servers_volume_and_not_a_new_one():
    patches = [(path, doc) for path, doc in RESOURCES if path.name == "inference-patch.yaml"]
    assert len(patches) == 2
    for _, doc in patches:
        (volume,) = doc["spec"]["template"]["spec"]["volumes"]
        assert volume["name"] == SERVER["volumeMounts"][0]["name"]
        assert "persistentVolumeClaim" not in volume


@pytest.mark.parametrize("folder", ["training", "inference"])
def test_the_installed_packages_are_those_of_requirements_in_with_hashes(folder):
    wanted = re.findall(r"^[\w-]+==\S+", (ROOT / folder / "requirements.in").read_text(), re.M)
    installed = (ROOT / folder / "requirements.txt").read_text()
    pins = re.findall(r"^[\w-]+==\S+", installed, re.M)
    assert wanted
    assert {*wanted} <= {*pins}
    assert all("--hash=sha256:" in part for part in re.split(r"^(?=\w)", installed, flags=re.M)[1:])
    installer = {"training": "training/install.sh", "inference": "inference/Dockerfile"}[folder]
    assert "--require-hashes" in (ROOT / installer).read_text()
