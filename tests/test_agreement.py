"""Facts that appear in more than one file agree: images, ports, paths, names and settings."""

import ipaddress
import re

import dataset
import pytest
import train
import yaml
from manifest_files import (
    CLAIM,
    FILES,
    INFERENCE,
    KIND,
    PODS,
    RESOURCES,
    ROOT,
    TRAINING,
    differing,
    documents,
    fields,
    name_of,
)

DEPLOYMENT, SERVICE = INFERENCE["Deployment"], INFERENCE["Service"]
SERVER = DEPLOYMENT["spec"]["template"]["spec"]["containers"][0]
README = (ROOT / "README.md").read_text()
DOCS = README + "".join(path.read_text() for path in sorted((ROOT / "docs").glob("*.md")))
POOL = documents(ROOT / "manifests/cilium-ip-pool.yaml")[0]
VALUES = yaml.safe_load((ROOT / "samples/cilium-helm-values.yaml").read_text())
WORKFLOW = (ROOT / ".github/workflows/ci.yaml").read_text()
CONTEXTS = {"mnist:train": "training", "mnist:inference": "inference"}


def dockerfile(image):
    return (ROOT / CONTEXTS[image] / "Dockerfile").read_text()


def variable(text, name):
    """Return the value that a Dockerfile's ENV gives a name."""
    return re.search(rf"\b{name}=(\S+)", text)[1]


def python_sources(folder):
    return "".join(path.read_text() for path in sorted((ROOT / folder).glob("*.py")))


OWN_PODS = [(path, pod) for path, pod in PODS if path.parent.name != "monitoring"]


@pytest.mark.parametrize(("path", "pod"), OWN_PODS, ids=name_of)
def test_a_pod_runs_an_image_that_the_readme_builds_with_a_numeric_user(path, pod):
    for container in pod["containers"]:
        image = container["image"]
        assert re.search(rf"docker build .*-t {image} {CONTEXTS[image]}\b", README)
        assert re.search(rf"kind load docker-image .*{image}", README)
        user, group = re.search(r"\nUSER (\d+):(\d+)\n", dockerfile(image)).groups()
        assert user != "0"
        assert pod["securityContext"].get("fsGroup", int(group)) == int(group)


ONE_RANK = [(path, pod) for path, pod in TRAINING if "distributed" not in path.parts]
DISTRIBUTED = ROOT / "manifests/distributed"
# What the headers call a difference, and a part of its paths.
DIFFERENCES = {
    "affinity": ".affinity.",
    "fsGroup": ".fsGroup",
    "volume": ".volumes.[model].",
    "deadline": ".activeDeadlineSeconds",
    "GPU": ".nvidia.com/gpu",
    "shm": ".[shm].",
    "corrections": ".[corrections].",
}


def test_rank_0_runs_as_the_training_job_does_and_the_others_without_the_claim():
    job = dict(TRAINING)[ROOT / "manifests/job/train-job.yaml"]
    in_jobs = [dict(TRAINING)[DISTRIBUTED / f"{name}.yaml"] for name in ("publisher", "workers")]
    in_jobset = [pod for path, pod in TRAINING if path.parent.name == "jobset"]
    # Corrections would have to reach all ranks: one machine is enough for them.
    own = r"\[corrections\]|affinity|\.subdomain|\.env\.|\.command\.|\.limits\.cpu"
    for publisher, worker in (in_jobs, in_jobset):
        assert [p for p in differing(publisher, job) if not re.search(own, p)] == []
        claim = r"|\.volumes\.\[model\]\.|\.fsGroup"
        assert [p for p in differing(worker, job) if not re.search(own + claim, p)] == []
        assert "persistentVolumeClaim" not in worker["volumes"][1]


def test_every_training_gets_as_many_threads_as_its_cpu_limit():
    for path, pod in TRAINING:
        (container,) = pod["containers"]
        threads = {"resourceFieldRef": {"resource": "limits.cpu"}}
        assert {"name": "OMP_NUM_THREADS", "valueFrom": threads} in container["env"], path
        assert int(container["resources"]["limits"]["cpu"]) >= 1, path


def test_every_job_stops_for_the_same_exit_codes():
    jobs = [doc for _, doc in RESOURCES if doc["kind"] == "Job"]
    (jobset,) = (doc for _, doc in RESOURCES if doc["kind"] == "JobSet")
    jobs += [job["template"] for job in jobset["spec"]["replicatedJobs"]]
    rules = [job["spec"]["podFailurePolicy"]["rules"][0] for job in jobs]
    assert len(rules) == 5
    assert all(rule == rules[0] for rule in rules)


def test_the_training_manifests_differ_only_in_what_their_headers_state():
    plain = dict(ONE_RANK)[ROOT / "manifests/train-pod.yaml"]
    assert len(ONE_RANK) == 5
    for path, pod in ONE_RANK:
        found = {
            next((word for word, part in DIFFERENCES.items() if part in place), place)
            for place in differing(pod, plain)
        }
        stated = "".join(
            re.findall(r"# Differences from train-pod\.yaml: (.*)\n", path.read_text())
        )
        assert found == {word for word in DIFFERENCES if word in stated}, path
    (job,) = documents(ROOT / "manifests/job/train-job.yaml")
    assert job["spec"]["activeDeadlineSeconds"] == plain["activeDeadlineSeconds"]


def test_the_config_maps_of_the_docs_are_those_that_training_reads():
    (settings,) = {
        ref["configMapRef"]["name"] for _, p in TRAINING for ref in p["containers"][0]["envFrom"]
    }
    pod = dict(TRAINING)[ROOT / "manifests/job/train-job.yaml"]
    corrections = pod["volumes"][-1]["configMap"]["name"]
    assert set(re.findall(r"create configmap (\S+)", DOCS)) == {settings, corrections}
    mounted = {mount["mountPath"] for mount in pod["containers"][0]["volumeMounts"]}
    assert f"{variable(dockerfile('mnist:train'), 'DATA_DIR')}/corrections" in mounted


def test_the_server_reads_the_model_where_training_publishes_it_and_cannot_write_there():
    (mount,) = SERVER["volumeMounts"]
    assert mount["readOnly"] is True
    assert mount["mountPath"] == variable(dockerfile("mnist:train"), "OUTPUT_DIR")
    assert f'"{mount["mountPath"]}/model.onnx"' in python_sources("inference")


def test_every_claim_is_the_one_that_model_pvc_makes():
    for _, pod in PODS:
        for volume in pod["volumes"]:
            if claim := volume.get("persistentVolumeClaim"):
                assert claim["claimName"] == CLAIM["metadata"]["name"]
                assert "fsGroup" in pod["securityContext"]
    assert documents(ROOT / "manifests/train-pod-affinity-mount.yaml")[0] == CLAIM


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
    assert f'"PORT", "{number}"' in (ROOT / "inference/gunicorn.conf.py").read_text().replace(
        "'", '"'
    )
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


def test_the_first_address_of_the_pool_is_the_one_in_the_documents():
    (block,) = POOL["spec"]["blocks"]
    network = ipaddress.ip_network(block["cidr"])
    named = set(re.findall(r"172\.18\.255\.\d+", DOCS))
    assert str(network[1]) in named
    assert named <= {str(network[0]), str(network[1]), str(network[6])}


def test_only_readiness_depends_on_the_model():
    probes = {
        name: SERVER[f"{name}Probe"]["httpGet"] for name in ("startup", "liveness", "readiness")
    }
    assert {probe["port"] for probe in probes.values()} == {SERVER["ports"][0]["name"]}
    paths = {name: probe["path"] for name, probe in probes.items()}
    assert paths == {"startup": "/healthz", "liveness": "/healthz", "readiness": "/readyz"}


def test_a_servers_pause_and_its_grace_fit_into_the_time_that_a_pod_has_for_its_end():
    text = (ROOT / "inference/gunicorn.conf.py").read_text()
    graceful = int(re.search(r"graceful_timeout = (\d+)", text)[1])
    pause = SERVER["lifecycle"]["preStop"]["sleep"]["seconds"]
    pod = DEPLOYMENT["spec"]["template"]["spec"]
    assert pause + graceful < pod.get("terminationGracePeriodSeconds", 30)


def test_every_setting_that_docs_and_e2e_give_to_training_is_read_by_it(monkeypatch):
    texts = DOCS + "".join(path.read_text() for path in ROOT.glob("tests/e2e*.sh"))
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
    assert dataset.mirrors([])[0] == mirror["MNIST_MIRROR"]


def test_the_label_of_the_training_nodes_is_the_one_that_docs_and_e2e_give():
    affinities = [pod["affinity"] for _, pod in ONE_RANK if "affinity" in pod]
    assert len(affinities) == 3
    required = "requiredDuringSchedulingIgnoredDuringExecution"
    for affinity in affinities:
        (term,) = affinity["nodeAffinity"][required]["nodeSelectorTerms"]
        (wanted,) = term["matchExpressions"]
        label = f"{wanted['key']}={wanted['values'][0]}"
        assert f"kubectl label nodes kind-worker {label}" in README
        assert f" {label} " in (ROOT / "tests/e2e.sh").read_text()


@pytest.mark.parametrize(
    "command",
    [
        "cd training; docker build -t mnist:train .; kind load docker-image mnist:train",
        "kubectl apply -f manifests/train-pod.yaml",
        "kubectl label nodes kind-worker training=allowed",
        "kubectl apply -f manifests/train-pod-affinity.yaml",
        "kubectl apply -f manifests/train-pod-affinity-mount.yaml",
        "cd inference; docker build -t mnist:inference .; kind load docker-image mnist:inference",
        "kubectl apply -f manifests/inference.yaml",
        "kubectl get svc mnist-inference-service",
        'curl -X POST -F "file=@data/testing/7/7030.jpg" http://172.18.255.201:5000/predict',
        "make testing-images",
        "cilium install ",
        "kubectl apply -f manifests/cilium-ip-pool.yaml",
    ],
)
def test_the_readme_has_each_command_of_the_original_tutorial(command):
    blocks = re.findall(r"^```bash\n(.*?)^```", README, re.M | re.S)
    assert any(command in block for block in blocks)


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


def test_cilium_replaces_kube_proxy_exactly_where_kind_leaves_it_out():
    assert KIND["networking"] == {"disableDefaultCNI": True, "kubeProxyMode": "none"}
    assert VALUES["kubeProxyReplacement"] is True
    (policy,) = documents(ROOT / "manifests/cilium-l2-policy.yaml")
    assert policy["spec"]["interfaces"] == VALUES["devices"]


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


@pytest.mark.parametrize(
    "name", ["README.md", "Makefile", "docs/troubleshooting.md", "docs/beyond-one-node.md"]
)
def test_the_files_that_a_document_names_exist(name):
    text = (ROOT / name).read_text()
    own = re.findall(r"(?:manifests|samples|scripts|docs|tests|bench)/[\w./*-]*\w\.\w+", text)
    assert [path for path in sorted(set(own)) if not [*ROOT.glob(path)]] == []


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
def test_a_dockerfile_names_no_architecture(image):
    assert re.findall(r"amd64|x86|arm64|aarch64|--platform", dockerfile(image)) == []


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
