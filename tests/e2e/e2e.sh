#!/usr/bin/env bash
# Runs steps 2 to 9 of the README as they are written there, and checks what the project promises, on the kind cluster
# of `make cluster`. Needs Linux, Docker, kind, kubectl, Helm, curl, ip, make and python3. It uses the namespace default
# first, then creates the namespaces mnist and mnist-e2e, installs metrics-server where it is missing, and removes all of
# it at the end. It stops and starts one of the nodes. Settings (make e2e EPOCHS=4):
#   CLUSTER_NAME       kind's name for the cluster (kind)
#   DOCKER_BUILD_ARGS  more arguments for both docker build commands
#   EXTRA_IMAGES       images to load into the nodes, for a cluster that cannot pull those of Prometheus and metrics-server
#   METRICS_SERVER_CHART  a chart's URL or folder
#   EPOCHS             of the trainings in the namespace mnist, some of which are interrupted (at least 2, the default)
#   MNIST_MIRROR       where Pods download MNIST from, before they try the public mirrors; on port 80 or 443
#   DATASET            synthetic, where no mirror can be reached; the request then has a picture of the repository
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/e2e/e2e-helpers.sh
. tests/e2e/e2e-default.sh
. tests/e2e/e2e-failover.sh
. tests/e2e/e2e-options.sh

cluster=${CLUSTER_NAME:-kind}
export KIND_CLUSTER_NAME=$cluster
namespace=mnist
epochs=${EPOCHS:-2}
tmp=$(mktemp -d)
worker=$cluster-worker
demo=app.kubernetes.io/part-of=mnist
demo_kinds=pods,deployments,services,persistentvolumeclaims
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

docker() { # adds DOCKER_BUILD_ARGS to the README's docker build commands
  # shellcheck disable=SC2086  # several arguments
  if [[ $1 == build ]]; then command docker build ${DOCKER_BUILD_ARGS-} "${@:2}"; else command docker "$@"; fi
}
export -f docker

check_requirements() {
  for tool in docker kind kubectl helm curl ip python3; do command -v "$tool" >/dev/null || die "$tool is not installed"; done
  ((epochs > 1)) || die "EPOCHS must be at least 2: a training is interrupted after the first epoch"
  contains "kind-$cluster" kubectl config current-context ||
    die "the current context is not kind-$cluster: run make cluster, or set CLUSTER_NAME"
  address=$(kubectl get ciliumloadbalancerippools pool --output 'jsonpath={.spec.blocks[0].cidr}') ||
    die "Cilium has no address pool: run make cluster"
  address=${address%.*}.201
  prints_nothing kubectl get namespace "$namespace" "$namespace-e2e" --ignore-not-found ||
    die "the namespace $namespace exists: delete it first (README, Clean up)"
  prints_nothing kubectl --namespace default get "$demo_kinds" --selector "$demo" --output name ||
    die "the namespace default contains the demo: delete it first (README, Clean up)"
  prints_nothing kubectl --namespace default get configmap training-settings --ignore-not-found ||
    die "the namespace default contains the ConfigMap training-settings: delete it first"
  prints_nothing kubectl get nodes --selector training=allowed --output name ||
    die "a node has the label already: kubectl label nodes --all training-"
  # A kubeconfig of its own: the user's current namespace stays as it is.
  kubectl config view --minify --flatten >"$tmp/kubeconfig"
  export KUBECONFIG=$tmp/kubeconfig
  kubectl config set-context --current --namespace default >/dev/null
}

build_and_load() {
  # For `make testing-images` in the README's step 8.
  [[ -n ${DATASET-} ]] || in_background packages make --silent .venv/run
  readme 2
  # shellcheck disable=SC2086  # several images
  [[ -z ${EXTRA_IMAGES-} ]] || kind load docker-image $EXTRA_IMAGES >/dev/null 2>&1 || die "cannot load $EXTRA_IMAGES"
}

choose_a_namespace() {
  readme 3
  create_training_settings "$epochs"
  install_metrics_server
  kubectl label nodes "$worker" training=allowed >/dev/null
  fails_with 'violates PodSecurity "restricted' kubectl run careless --image mnist:inference --dry-run=server ||
    die "a Pod without a security context was admitted"
  note "a Pod without a security context is refused"
}

interrupt_training() {
  readme 6
  fails_with "exceeded quota" kubectl apply --dry-run=server -f <(sed "s/name: mnist-train$/name: second/" manifests/train-pod.yaml) ||
    die "a second training Pod was admitted"
  note "a second training Pod is refused"
  wait_for 600 "it trains" contains "epoch 1/" kubectl logs mnist-train-affinity-mount
  kubectl delete pod mnist-train-affinity-mount >/dev/null
  note "deleted during the second epoch"
}

serve_without_a_model() {
  kubectl apply -f manifests/inference.yaml >/dev/null
  wait_for 120 "two servers run, neither of them ready" servers_with Running False
  sleep 10
  servers_with Running False || die "a server is ready without a model"
  forward_port deployment/mnist-inference 5000
  contains "no model" curl --silent --show-error "$url/readyz" || die "/readyz does not say why"
  note "$(curl --silent "$url/readyz")"
  stop_forwarding
}

resume_and_publish() {
  readme 6
  wait_for 600 "it has trained" trained mnist-train-affinity-mount
  contains "resuming from" kubectl logs mnist-train-affinity-mount || die "it started again instead of resuming"
  note "$(kubectl logs mnist-train-affinity-mount | grep -F -- "resuming from")"
  readme 7
  wait_for 60 "both servers became ready automatically" servers_with Running True
  model_of_the_servers >"$tmp/first.onnx"
}

isolate_the_pods() {
  local server other api
  server=$(kubectl get pods --selector app.kubernetes.io/name=mnist-inference --output 'jsonpath={.items[0].status.podIP}')
  other=$(kubectl get pods --selector app.kubernetes.io/name=mnist-inference --output 'jsonpath={.items[1].metadata.name}')
  api=$(kubectl --namespace default get service kubernetes --output 'jsonpath={.spec.clusterIP}')
  kubectl create namespace "$namespace-e2e" >/dev/null
  # A Pod that no policy selects, so that only the policies of the servers can block it.
  kubectl --namespace "$namespace-e2e" run probe --image mnist:inference --command -- sleep 3600 >/dev/null
  kubectl --namespace "$namespace-e2e" wait --for condition=Ready pod/probe --timeout 1m >/dev/null
  local probe=(--namespace "$namespace-e2e" probe)
  contains reached from_pod "${probe[@]}" "$api" 443 || die "the probe reaches nothing, so it proves nothing"
  contains reached from_pod "${probe[@]}" "$server" 5000 || die "another Pod cannot use the server"
  contains reached from_pod "$other" 127.0.0.1 9100 || die "nothing listens on the metrics port"
  contains blocked from_pod "${probe[@]}" "$server" 9100 || die "any Pod reaches the metrics port"
  contains blocked from_pod "$other" "$api" 443 || die "the servers reach the API server"
  contains blocked from_pod "$other" "$server" 9100 || die "the servers reach other Pods"
  note "in: port 5000 only, not the metrics port; out: nothing"
}

rolling_restart() {
  kubectl rollout restart deployment/mnist-inference >/dev/null
  kubectl rollout status deployment/mnist-inference --timeout 5m >/dev/null
  note "restarted one after the other"
}

delete_a_server() {
  kubectl delete "$(kubectl get pods --selector app.kubernetes.io/name=mnist-inference --output name | head -n 1)" >/dev/null
  wait_for 60 "one was deleted; two are ready again" servers_with Running True
}

restart_and_delete_without_loss() {
  without_lost_requests rolling_restart
  without_lost_requests delete_a_server
}

drain_the_node_and_pick_up_the_jobs_model() {
  local old servers job_pod
  old=$(served_version)
  # Another seed, or the training would end in the same model.
  kubectl set env --local -f manifests/job/train-job.yaml SEED=7 --output yaml | kubectl apply -f - >/dev/null
  wait_for 600 "the Job trains" contains "epoch 1/" kubectl logs job/mnist-train-job
  kubectl drain "$worker" --ignore-daemonsets --delete-emptydir-data --force --timeout 3m >"$tmp/drain" 2>&1 ||
    { cat "$tmp/drain" >&3; die "the drain did not end"; }
  wait_for 60 "drained: servers and Job are Pending, as their volume is on that node" servers_with Pending ""
  kubectl uncordon "$worker" >/dev/null
  wait_for 120 "the servers are ready again" servers_with Running True
  servers=$(server_containers)
  kubectl wait --for condition=Complete job/mnist-train-job --timeout 10m >/dev/null
  [[ $(field job mnist-train-job .status.failed) =~ ^0?$ ]] ||
    die "the eviction was counted as a failure"
  job_pod=$(kubectl get pods --selector batch.kubernetes.io/job-name=mnist-train-job --field-selector status.phase=Succeeded --output name)
  contains "resuming from" kubectl logs "$job_pod" || die "it started again instead of resuming"
  note "the eviction was not counted as a failure; the Job resumed and published"
  wait_for 60 "the servers have the new model" only_new_version "$old"
  [[ $(server_containers) == "$servers" ]] || die "the servers were restarted"
  note "$old was replaced by $(served_version) without a restart: $(load 3)"
}

serve_the_previous_model() { # docs/operations.md, Back to the previous model
  local new
  new=$(served_version)
  kubectl set env --local -f manifests/job/train-job.yaml PREVIOUS=true --output yaml | kubectl replace --force -f - >/dev/null
  kubectl wait --for condition=Complete job/mnist-train-job --timeout 2m >/dev/null
  wait_for 60 "the servers have another model than $new" only_new_version "$new"
  note "$(kubectl logs job/mnist-train-job | tail -n 1)"
}

fail_immediately() {
  kubectl delete job mnist-train-job >/dev/null
  kubectl set env --local -f manifests/job/train-job.yaml EPOCHS=none --output yaml | kubectl apply -f - >/dev/null
  kubectl wait --for condition=Failed job/mnist-train-job --timeout 2m >/dev/null
  contains PodFailurePolicy field job mnist-train-job '.status.conditions[*].reason' ||
    die "the Job did not fail because of its podFailurePolicy"
  [[ $(field job mnist-train-job .status.failed) == 1 ]] || die "it was retried"
  note "$(kubectl logs job/mnist-train-job | tail -n 1)"
}

step "requirements: tools, cluster, address pool"; check_requirements
step "README 2: build the images and load them into the nodes"; build_and_load
step "README 4: a training Pod, in the namespace default"; train_in_a_pod
step "README 5: a training Pod with node affinity"; train_on_the_labelled_node
step "README 6 to 9: a training Pod with a claim, servers, a request from outside the cluster, clean up"; serve_in_default
step "README 3: a namespace that enforces the restricted Pod Security Standard"; choose_a_namespace
step "README 6: a training Pod with a claim, interrupted"; interrupt_training
step "two servers before there is a model"; serve_without_a_model
step "README 6 and 7: the training resumes and publishes"; resume_and_publish
step "README 8: requests from outside the cluster"; answer_from_outside
step "network policies"; isolate_the_pods
step "Prometheus, alerts and dashboard, and who may connect to the metrics port"; monitor
step "autoscaling under load"; autoscale
step "a rolling restart and a deleted Pod under load"; restart_and_delete_without_loss
step "a drained node, and a second model from a Job"; drain_the_node_and_pick_up_the_jobs_model
step "the previous model again"; serve_the_previous_model
step "a Job with an invalid setting"; fail_immediately
step "training with two ranks on two nodes"; tests/e2e/e2e-distributed.sh "$address"
step "the Cilium agent that announces the address stops"; fail_over_when_the_agent_stops
step "the node that announces the address stops"; fail_over_when_the_node_stops
step "the model in an image volume, one server on each worker"; serve_from_an_image_volume
step "clean up"
