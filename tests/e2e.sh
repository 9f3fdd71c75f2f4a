#!/usr/bin/env bash
# The README's cluster part and what it promises, on the current kubectl context: a kind cluster of `make cluster`.
# Works in a namespace of its own and removes it. Settings (make e2e EPOCHS=4):
#   CLUSTER_NAME       kind's name for the cluster (kind)
#   DOCKER_BUILD_ARGS  more arguments for both docker build commands
#   EPOCHS             of each training (2, and no less)
#   MNIST_MIRROR       where Pods get MNIST's archives from, before the public mirrors
#   DATASET            mnist, or synthetic for a cluster that reaches no mirror at all
set -euo pipefail
cd "$(dirname "$0")/.."
. tests/e2e-helpers.sh

cluster=${CLUSTER_NAME:-kind}
namespace=mnist-e2e
epochs=${EPOCHS:-2}
tmp=$(mktemp -d)
worker=$cluster-worker
digit=samples/digits/7.png
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

check_the_surroundings() {
  for tool in docker kind kubectl curl; do command -v "$tool" >/dev/null || die "$tool is not installed"; done
  ((epochs > 1)) || die "EPOCHS must be 2 or more: a training is stopped in the middle, after the first"
  [[ $(kubectl config current-context) == "kind-$cluster" ]] ||
    die "the current context is not kind-$cluster: make cluster, or set CLUSTER_NAME"
  kubectl get ciliumloadbalancerippools pool >/dev/null || die "Cilium has no address pool: make cluster"
  must_not contains mnist-inference-service kubectl get services --all-namespaces ||
    die "mnist-inference-service runs already and has the address: delete it first (README, Clean up)"
  must_not contains node/ kubectl get nodes --selector training=allowed --output name ||
    die "a node has the label already: kubectl label nodes --all training-"
}

build_and_load() {
  # Without attestations kind can load the image from Docker's containerd store as well (kind issue 3795).
  export BUILDX_NO_DEFAULT_ATTESTATIONS=1
  for part in train:training inference:inference; do
    # shellcheck disable=SC2086  # several arguments
    docker build --quiet ${DOCKER_BUILD_ARGS-} --tag "mnist:${part%:*}" "${part#*:}"
    kind load docker-image "mnist:${part%:*}" --name "$cluster"
  done
}

restricted_namespace() {
  own_kubeconfig
  kubectl create namespace "$namespace" >/dev/null
  kubectl label namespace "$namespace" pod-security.kubernetes.io/enforce=restricted >/dev/null
  contains 'violates PodSecurity "restricted' kubectl run careless --image mnist:inference --dry-run=server ||
    die "a Pod without a security context was let in"
  note "an ordinary Pod is refused; everything below is let in"
  kubectl create configmap training-settings --from-literal "EPOCHS=$epochs" \
    ${MNIST_MIRROR:+--from-literal "MNIST_MIRROR=$MNIST_MIRROR"} ${DATASET:+--from-literal "DATASET=$DATASET"} >/dev/null
}

train_in_a_pod() {
  kubectl apply -f manifests/train-pod.yaml >/dev/null
  wait_for 600 "the Pod has trained" trained mnist-train
  kubectl logs mnist-train --tail 3 | sed 's/^/    /'
}

train_on_the_labelled_node() {
  kubectl apply -f manifests/train-pod-affinity.yaml >/dev/null
  wait_for 30 "Pending: no node has the label" \
    contains "didn't match Pod's node affinity" kubectl get events --field-selector involvedObject.name=mnist-train-affinity
  contains Pending kubectl get pod mnist-train-affinity || die "the Pod is not Pending without the label"
  kubectl label nodes "$worker" training=allowed >/dev/null
  wait_for 600 "with the label it has trained" trained mnist-train-affinity
  contains "$worker" kubectl get pod mnist-train-affinity --output wide || die "it ran on another node"
}

stop_training_in_the_middle() {
  kubectl apply -f manifests/model-pvc.yaml -f manifests/train-pod-affinity-mount.yaml >/dev/null
  wait_for 600 "it trains" contains "epoch 1/" kubectl logs mnist-train-affinity-mount
  kubectl delete pod mnist-train-affinity-mount >/dev/null
  note "deleted in the middle"
}

serve_without_a_model() {
  scripts/lb-apply.sh manifests/inference.yaml >/dev/null
  wait_for 120 "two servers run" two_servers Running
  sleep 5
  must_not two_servers Ready || die "the servers are ready without a model"
  kubectl port-forward deployment/mnist-inference 15000:5000 >"$tmp/forward" 2>&1 &
  local forward=$!
  wait_for 30 "not ready, and /readyz says what to do:" contains "There is no model" curl --silent http://127.0.0.1:15000/readyz
  note "$(curl --silent http://127.0.0.1:15000/readyz)"
  kill "$forward"
}

resume_and_publish() {
  kubectl apply -f manifests/train-pod-affinity-mount.yaml >/dev/null
  wait_for 600 "it has trained" trained mnist-train-affinity-mount
  contains "resuming from" kubectl logs mnist-train-affinity-mount || die "it began anew instead of resuming"
  note "$(kubectl logs mnist-train-affinity-mount | grep -F -- "resuming from")"
  wait_for 60 "both servers have become ready by themselves" two_servers Ready
}

answer_from_outside() {
  wait_for 60 "the Service has the address that it asks for" contains .201 \
    kubectl get service mnist-inference-service --output 'jsonpath={.status.loadBalancer.ingress[0].ip}'
  address=$(kubectl get service mnist-inference-service --output 'jsonpath={.status.loadBalancer.ingress[0].ip}')
  wait_for 60 "curl -F file=@$digit http://$address:5000/predict" contains '{"prediction": 7}' predict
  note "$(predict)"
}

keep_the_servers_in() {
  local api dns
  api=$(kubectl get service kubernetes --namespace default --output 'jsonpath={.spec.clusterIP}')
  dns=$(kubectl get service kube-dns --namespace kube-system --output 'jsonpath={.spec.clusterIP}')
  contains reached from_a_server kubernetes.default.svc 443 || die "no connection even without the policy"
  contains reached from_a_server "$dns" 53 || die "no DNS even without the policy"
  kubectl apply -f manifests/network-policy.yaml >/dev/null
  wait_for 30 "the policy is in force" contains blocked from_a_server "$api" 443
  contains blocked from_a_server "$dns" 53 || die "DNS still answers"
  contains '{"prediction": 7}' predict || die "the server no longer answers"
  note "the servers reach neither the API server nor DNS any more, and still answer"
}

restart_and_delete_without_loss() {
  without_lost_requests rolling_restart
  without_lost_requests delete_a_server
}

rolling_restart() {
  kubectl rollout restart deployment/mnist-inference >/dev/null
  kubectl rollout status deployment/mnist-inference --timeout 5m >/dev/null
  note "restarted one after the other"
}

delete_a_server() {
  kubectl delete "$(kubectl get pods --selector app.kubernetes.io/name=mnist-inference --output name | head -n 1)" >/dev/null
  wait_for 60 "deleted one; both are ready again" two_servers Ready
}

evict_the_job_and_pick_its_model_up() {
  local old servers job_pod
  old=$(served_version)
  servers=$(server_containers)
  # Another seed, or the same training would end in the same model.
  kubectl set env --local -f manifests/train-job.yaml SEED=7 --output yaml | kubectl apply -f - >/dev/null
  wait_for 600 "the Job trains" contains "epoch 1/" kubectl logs job/mnist-train-job
  kubectl drain "$worker" --pod-selector batch.kubernetes.io/job-name=mnist-train-job --delete-emptydir-data >/dev/null 2>&1
  kubectl uncordon "$worker" >/dev/null
  kubectl wait --for condition=Complete job/mnist-train-job --timeout 10m >/dev/null
  [[ $(kubectl get job mnist-train-job --output 'jsonpath={.status.failed}') =~ ^0?$ ]] || die "the eviction was counted as a failure"
  job_pod=$(kubectl get pods --selector batch.kubernetes.io/job-name=mnist-train-job --field-selector status.phase=Succeeded --output name)
  contains "resuming from" kubectl logs "$job_pod" || die "it began anew instead of resuming"
  note "evicted in the middle: not counted as a failure, resumed, published"
  wait_for 60 "the servers have the new model" only_new_version "$old"
  [[ $(server_containers) == "$servers" ]] || die "the servers were restarted"
  note "$old is now $(served_version), without a restart"
  contains '{"prediction": 7}' predict || die "the new model does not read the 7"
}

fail_at_once() {
  kubectl delete job mnist-train-job >/dev/null
  kubectl set env --local -f manifests/train-job.yaml EPOCHS=none --output yaml | kubectl apply -f - >/dev/null
  kubectl wait --for condition=Failed job/mnist-train-job --timeout 2m >/dev/null
  contains PodFailurePolicy kubectl get job mnist-train-job --output 'jsonpath={.status.conditions[*].reason}' ||
    die "the Job did not fail by its podFailurePolicy"
  [[ $(kubectl get pods --selector batch.kubernetes.io/job-name=mnist-train-job --output name | wc -l) == 1 ]] || die "it was tried again"
  note "$(kubectl logs job/mnist-train-job | tail -n 1)"
}

answer_after_the_announcing_agent_has_gone() {
  local node
  node=$(announcing_node)
  [[ -n $node ]] || die "no node announces the address"
  keep_cilium_off "$node"
  wait_for 60 "the agent on $node has gone" no_agent_on "$node"
  wait_for 90 "another node holds the Lease" announced_by_another "$node"
  wait_for 60 "and the address answers" contains '{"prediction": 7}' predict
  note "$node -> $(announcing_node)"
  let_cilium_back
}

step "tools, cluster, address pool"; check_the_surroundings
step "build mnist:train and mnist:inference, load them into the nodes"; build_and_load
step "a namespace that enforces the restricted Pod Security Standard"; restricted_namespace
step "a training Pod"; train_in_a_pod
step "a training Pod with node affinity"; train_on_the_labelled_node
step "a training Pod with a claim, deleted in the middle"; stop_training_in_the_middle
step "two servers before there is a model"; serve_without_a_model
step "the training Pod again: it resumes and publishes"; resume_and_publish
step "one request from outside the cluster"; answer_from_outside
step "network policy"; keep_the_servers_in
step "a rolling restart and a deleted Pod under load"; restart_and_delete_without_loss
step "a Job, evicted in the middle, brings a second model"; evict_the_job_and_pick_its_model_up
step "a Job with a setting that no retry mends"; fail_at_once
step "the Cilium agent that announces the address goes"; answer_after_the_announcing_agent_has_gone
step "clean up"
