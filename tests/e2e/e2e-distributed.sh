#!/usr/bin/env bash
# Trains with two ranks on two nodes, deletes a Pod halfway, and checks that the training resumes, publishes, and that
# the servers load the model. tests/e2e/e2e.sh calls it; on its own, it needs the namespace mnist as the current one, with
# network policies, claim and two servers.
# Usage: tests/e2e/e2e-distributed.sh ADDRESS        (of the Service)
set -euo pipefail
cd "$(dirname "$0")/../.."
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
# shellcheck source=tests/e2e/e2e-helpers.sh
. tests/e2e/e2e-helpers.sh
# shellcheck disable=SC2034  # read by the helpers
address=$1
jobs=(job/mnist-train-publisher job/mnist-train-workers)

start() { # SETTING=VALUE
  kubectl delete "${jobs[@]}" --ignore-not-found >/dev/null
  kubectl apply -f manifests/distributed/ranks.yaml >/dev/null
  kubectl set env --local -f manifests/distributed/publisher.yaml -f manifests/distributed/workers.yaml "$1" --output yaml |
    kubectl apply -f - >/dev/null
}

pod_of() { # publisher|workers FIELD: of the newest Pod
  kubectl get pods --selector "app.kubernetes.io/name=mnist-train-distributed,app.kubernetes.io/instance=$1" \
    --sort-by .metadata.creationTimestamp --output "jsonpath={.items[-1:]$2}"
}

ends_with_2() { # publisher|workers
  [[ $(pod_of "$1" '.status.containerStatuses[0].state.terminated.exitCode') == 2 ]]
}

old=$(served_version)
# Another seed, or the training would end in the same model.
start SEED=11
wait_for 600 "rank 0 trains" contains "epoch 1/" kubectl logs job/mnist-train-publisher
nodes="$(pod_of publisher .spec.nodeName) $(pod_of workers .spec.nodeName)"
[[ ${nodes% *} != "${nodes#* }" ]] || die "both ranks run on ${nodes% *}"
note "on the nodes $nodes"
kubectl delete pod "$(pod_of workers .metadata.name)" >/dev/null
note "rank 1 was deleted"
kubectl wait --for condition=Complete "${jobs[@]}" --timeout 15m >/dev/null || die "the training has not ended"
contains "resuming from" kubectl logs "$(pod_of publisher .metadata.name)" || die "it started again instead of resuming"
note "$(kubectl logs "$(pod_of publisher .metadata.name)" | grep -F -- "resuming from")"
wait_for 60 "the servers have the new model" only_new_version "$old"

start EPOCHS=none
kubectl wait --for condition=Failed "${jobs[@]}" --timeout 3m >/dev/null
wait_for 10 "an invalid setting ends both ranks with exit code 2, without a retry" ends_with_2 publisher
ends_with_2 workers || die "rank 1 ended with another exit code"
kubectl delete "${jobs[@]}" >/dev/null
