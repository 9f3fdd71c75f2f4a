"""The training manifests agree with each other, with training/ and with the documents."""

import re

from manifest_files import (
    CLAIM,
    DOCS,
    PODS,
    RESOURCES,
    ROOT,
    TRAINING,
    differing,
    dockerfile,
    documents,
    variable,
)

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


def test_every_claim_is_the_one_that_model_pvc_makes():
    for _, pod in PODS:
        for volume in pod["volumes"]:
            if claim := volume.get("persistentVolumeClaim"):
                assert claim["claimName"] == CLAIM["metadata"]["name"]
                assert "fsGroup" in pod["securityContext"]
    assert documents(ROOT / "manifests/train-pod-affinity-mount.yaml")[0] == CLAIM
