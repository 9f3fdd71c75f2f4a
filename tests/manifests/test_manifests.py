"""Each Kubernetes file on its own, without a cluster: valid, restricted, hardened."""

import kubernetes_validate
import pytest
import yaml
from manifest_files import FILES, KUBERNETES, PODS, RESOURCES, ROOT, documents, fields, name_of

# The fields that are used here of the custom resources, as in the CustomResourceDefinitions of
# Cilium 1.20, of JobSet 0.12 (whose Jobs Kubernetes defines) and of the Prometheus operator.
CUSTOM_FIELDS = {
    ("cilium.io/v2", "CiliumLoadBalancerIPPool"): {
        ".blocks.[0].cidr": str,
        ".allowFirstLastIPs": str,
    },
    ("cilium.io/v2alpha1", "CiliumL2AnnouncementPolicy"): {
        ".nodeSelector.matchExpressions.[0].key": str,
        ".nodeSelector.matchExpressions.[0].operator": str,
        ".interfaces.[0]": str,
        ".loadBalancerIPs": bool,
    },
    ("jobset.x-k8s.io/v1alpha2", "JobSet"): {
        ".network.enableDNSHostnames": bool,
        ".network.subdomain": str,
        ".network.publishNotReadyAddresses": bool,
        ".successPolicy.operator": str,
        ".successPolicy.targetReplicatedJobs.[0]": str,
        ".failurePolicy.maxRestarts": int,
        ".failurePolicy.rules.[0].action": str,
        ".failurePolicy.rules.[0].onJobFailureReasons.[0]": str,
    },
    ("monitoring.coreos.com/v1", "PodMonitor"): {
        ".selector.matchLabels.app.kubernetes.io/name": str,
        ".podMetricsEndpoints.[0].port": str,
        ".podMetricsEndpoints.[0].interval": str,
    },
}


@pytest.mark.parametrize(("path", "resource"), RESOURCES, ids=name_of)
def test_a_resource_is_valid_for_the_kubernetes_version_of_the_cluster(path, resource):
    known = CUSTOM_FIELDS.get((resource["apiVersion"], resource["kind"]))
    if known is None:
        kubernetes_validate.validate(resource, KUBERNETES, strict=True)
        return
    spec = dict(resource["spec"])
    for job in spec.pop("replicatedJobs", []):
        assert {*job} == {"name", "template"}
        job = {"apiVersion": "batch/v1", "kind": "Job", **job["template"]}
        kubernetes_validate.validate(job, KUBERNETES, strict=True)
    assert {path: type(value) for path, value in fields(spec)}.items() <= known.items()


@pytest.mark.parametrize(("path", "pod"), PODS, ids=name_of)
def test_a_pod_is_restricted_and_bounded(path, pod):
    """As the restricted Pod Security Standard demands, and beyond it.

    https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted
    """
    assert not {"hostNetwork", "hostPID", "hostIPC"} & {*pod}
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["securityContext"].get("runAsUser") != 0
    # Prometheus is the only Pod that talks to the API server.
    assert pod["automountServiceAccountToken"] is ("serviceAccountName" in pod)
    for volume in pod["volumes"]:
        allowed = {"name", "configMap", "emptyDir", "image", "persistentVolumeClaim", "secret"}
        assert {*volume} <= allowed
        assert "sizeLimit" in volume.get("emptyDir", {"sizeLimit": None})
    for container in pod["containers"] + pod.get("initContainers", []):
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert container["imagePullPolicy"] == "IfNotPresent"
        assert not any("hostPort" in port for port in container.get("ports", []))
        resources = container["resources"]
        assert {*resources["requests"]} == {*resources["limits"]}
        assert {*resources["limits"]} - {"nvidia.com/gpu"} == {"cpu", "memory"}


def test_every_patch_file_is_applied_by_the_kustomization_of_its_folder():
    for path in (path for path in FILES if path.name.endswith("-patch.yaml")):
        (kustomization,) = documents(path.parent / "kustomization.yaml")
        assert {"path": path.name} in kustomization["patches"]


def test_kustomize_deploys_what_serves_and_no_training():
    (kustomization,) = documents(ROOT / "manifests/kustomization.yaml")
    listed = [ROOT / "manifests" / name for name in kustomization["resources"]]
    kinds = {doc["kind"] for path in listed for doc in documents(path)}
    assert {"Namespace", "ResourceQuota", "PersistentVolumeClaim", "Deployment", "Service"} <= kinds
    assert not {"Pod", "Job"} & kinds


def test_the_autoscaling_component_removes_the_field_that_the_autoscaler_sets():
    (component,) = documents(ROOT / "manifests/autoscaling/kustomization.yaml")
    (patch,) = component["patches"]
    assert yaml.safe_load(patch["patch"]) == [{"op": "remove", "path": "/spec/replicas"}]
