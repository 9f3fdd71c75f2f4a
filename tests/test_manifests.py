"""Each Kubernetes file on its own, without a cluster: valid, restricted, hardened."""

import copy
import re

import kubernetes_validate
import pytest
import yaml
from manifest_files import FILES, KUBERNETES, PODS, RESOURCES, ROOT, documents, name_of

# The fields used here of the custom resources, as in the CustomResourceDefinitions of Cilium 1.20
# and of the Prometheus operator; a nested dict is an object, a list contains the form of its items.
SELECTOR = {
    "matchLabels": dict,
    "matchExpressions": [{"key": str, "operator": str, "values": list}],
}
CUSTOM_KINDS = {
    ("cilium.io/v2", "CiliumLoadBalancerIPPool"): {
        "blocks": [{"cidr": str, "start": str, "stop": str}],
        "allowFirstLastIPs": str,
        "serviceSelector": SELECTOR,
        "disabled": bool,
    },
    ("cilium.io/v2alpha1", "CiliumL2AnnouncementPolicy"): {
        "nodeSelector": SELECTOR,
        "serviceSelector": SELECTOR,
        "interfaces": [str],
        "loadBalancerIPs": bool,
        "externalIPs": bool,
    },
    # Of v0.12. The templates are Jobs, which Kubernetes defines.
    ("jobset.x-k8s.io/v1alpha2", "JobSet"): {
        "network": {
            "enableDNSHostnames": bool,
            "subdomain": str,
            "publishNotReadyAddresses": bool,
        },
        "successPolicy": {"operator": str, "targetReplicatedJobs": [str]},
        "failurePolicy": {
            "maxRestarts": int,
            "rules": [{"action": str, "onJobFailureReasons": [str]}],
        },
        "replicatedJobs": [{"name": str, "template": {"spec": dict}}],
    },
    ("monitoring.coreos.com/v1", "PodMonitor"): {
        "selector": SELECTOR,
        "podMetricsEndpoints": [{"port": str, "interval": str}],
    },
}


def misfits(value, form, where="spec"):
    """Return what in `value` does not fit the form, as sentences."""
    if isinstance(form, type):
        return [] if isinstance(value, form) else [f"{where} is not {form.__name__}"]
    if isinstance(form, list):
        if not isinstance(value, list):
            return [f"{where} is not a list"]
        return [m for item in value for m in misfits(item, form[0], f"{where}[]")]
    if not isinstance(value, dict):
        return [f"{where} is not an object"]
    unknown = [f"{where}.{key} is unknown" for key in value if key not in form]
    known = [m for key in value if key in form for m in misfits(value[key], form[key], key)]
    return unknown + known


def violations(pod):
    """Return how a Pod's spec breaks the restricted Pod Security Standard, as sentences.

    https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted, for Linux.
    """
    context = pod.get("securityContext", {})
    found = [f"{key} is set" for key in ("hostNetwork", "hostPID", "hostIPC") if pod.get(key)]
    allowed = {"name", "configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "image"}
    allowed |= {"persistentVolumeClaim", "projected", "secret"}
    found += [f"volume {v['name']}" for v in pod.get("volumes", []) if v.keys() - allowed]
    for container in pod["containers"] + pod.get("initContainers", []):
        own = container.get("securityContext", {})
        both = context | own
        if both.get("runAsNonRoot") is not True:
            found.append("runAsNonRoot is not true")
        if both.get("runAsUser") == 0:
            found.append("runAsUser is 0")
        if both.get("seccompProfile", {}).get("type") not in ("RuntimeDefault", "Localhost"):
            found.append("no seccompProfile")
        if own.get("privileged"):
            found.append("privileged")
        if own.get("allowPrivilegeEscalation") is not False:
            found.append("allowPrivilegeEscalation is not false")
        capabilities = own.get("capabilities", {})
        if "ALL" not in capabilities.get("drop", []):
            found.append("capabilities are not dropped")
        if set(capabilities.get("add", [])) - {"NET_BIND_SERVICE"}:
            found.append("capabilities are added")
        if any("hostPort" in port for port in container.get("ports", [])):
            found.append("hostPort")
    return found


@pytest.mark.parametrize(("path", "resource"), RESOURCES, ids=name_of)
def test_a_resource_is_valid_for_the_kubernetes_version_of_the_cluster(path, resource):
    if (form := CUSTOM_KINDS.get((resource["apiVersion"], resource["kind"]))) is not None:
        assert misfits(resource["spec"], form) == []
        for job in resource["spec"].get("replicatedJobs", []):
            job = {"apiVersion": "batch/v1", "kind": "Job", **job["template"]}
            kubernetes_validate.validate(job, KUBERNETES, strict=True)
    else:
        kubernetes_validate.validate(resource, KUBERNETES, strict=True)


def test_an_unknown_field_is_found_in_either_kind_of_resource():
    service = {"apiVersion": "v1", "kind": "Service", "spec": {"prots": []}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(service, KUBERNETES, strict=True)
    pool = CUSTOM_KINDS[("cilium.io/v2", "CiliumLoadBalancerIPPool")]
    assert misfits({"cidrs": []}, pool) == ["spec.cidrs is unknown"]
    assert misfits({"blocks": [{"cidr": 7}]}, pool) == ["cidr is not str"]


@pytest.mark.parametrize(("path", "pod"), PODS, ids=name_of)
def test_a_pod_meets_the_restricted_pod_security_standard(path, pod):
    assert violations(pod) == []


@pytest.mark.parametrize(
    ("change", "violation"),
    [
        (lambda pod: pod.update(hostNetwork=True), "hostNetwork is set"),
        (lambda pod: pod["volumes"].append({"name": "x", "hostPath": {}}), "volume x"),
        (lambda pod: pod["securityContext"].pop("runAsNonRoot"), "runAsNonRoot is not true"),
        (lambda pod: pod["securityContext"].pop("seccompProfile"), "no seccompProfile"),
        (lambda pod: pod["containers"][0].pop("securityContext"), "capabilities are not dropped"),
    ],
)
def test_a_pod_that_breaks_the_standard_is_found(change, violation):
    pod = copy.deepcopy(PODS[0][1])
    change(pod)
    assert violation in violations(pod)


@pytest.mark.parametrize(("path", "pod"), PODS, ids=name_of)
def test_a_pod_is_hardened_and_bounded_beyond_the_standard(path, pod):
    # Prometheus is the only Pod that talks to the API server.
    assert pod["automountServiceAccountToken"] is ("serviceAccountName" in pod)
    for volume in pod["volumes"]:
        assert "sizeLimit" in volume.get("emptyDir", {"sizeLimit": None})
    for container in pod["containers"] + pod.get("initContainers", []):
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
        assert container["imagePullPolicy"] == "IfNotPresent"
        resources = container["resources"]
        assert {*resources["requests"]} == {*resources["limits"]}
        assert {*resources["limits"]} - {"nvidia.com/gpu"} == {"cpu", "memory"}


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_a_manifest_begins_with_what_it_is_and_what_must_exist_first(path):
    header = re.match(r"(?:#.*\n)+", path.read_text())
    assert header is not None
    assert 2 <= header[0].count("\n") <= 4


def test_every_patch_file_is_applied_by_the_kustomization_of_its_folder():
    for path in (path for path in FILES if path.name.endswith("-patch.yaml")):
        (kustomization,) = documents(path.parent / "kustomization.yaml")
        assert {"path": path.name} in kustomization["patches"]


def test_kustomize_deploys_what_serves_and_no_training():
    (kustomization,) = documents(ROOT / "manifests/kustomization.yaml")
    listed = [ROOT / "manifests" / name for name in kustomization["resources"]]
    kinds = [doc["kind"] for path in listed for doc in documents(path)]
    assert {"Namespace", "ResourceQuota", "PersistentVolumeClaim", "Deployment", "Service"} <= {
        *kinds
    }
    assert {"Pod", "Job"} & {*kinds} == set()


def test_the_autoscaling_component_removes_the_field_that_the_autoscaler_sets():
    (component,) = documents(ROOT / "manifests/autoscaling/kustomization.yaml")
    (patch,) = component["patches"]
    assert yaml.safe_load(patch["patch"]) == [{"op": "remove", "path": "/spec/replicas"}]


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_a_manifest_is_in_the_customary_order(path):
    for resource in documents(path):
        wanted = ("apiVersion", "kind", "metadata", "spec")
        assert [key for key in resource if key in wanted] == [k for k in wanted if k in resource]


def test_every_action_of_the_workflow_is_pinned_to_a_commit():
    uses = re.findall(r"uses: *(\S+)", (ROOT / ".github/workflows/ci.yaml").read_text())
    assert uses
    assert [action for action in uses if not re.search(r"@[0-9a-f]{40}$", action)] == []
