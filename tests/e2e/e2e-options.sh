#!/usr/bin/env bash
# Optional parts for tests/e2e/e2e.sh: Prometheus with alerts and dashboard, autoscaling (docs/operations.md), and image
# volumes (docs/beyond-one-node.md). Sourced by it.
# shellcheck disable=SC2154,SC2034
metrics_server_chart=${METRICS_SERVER_CHART:-https://github.com/kubernetes-sigs/metrics-server/releases/download/metrics-server-helm-chart-3.13.0/metrics-server-3.13.0.tgz}

start_the_probe() {
  kubectl create configmap load --from-file tests/e2e/load.py >/dev/null
  kubectl create configmap digits --from-file samples/digits >/dev/null
  kubectl apply -f tests/e2e/e2e-probe.yaml >/dev/null
  kubectl wait --for condition=Ready pod/probe --timeout 1m >/dev/null
}

load_in_the_cluster() { # SECONDS
  kubectl exec probe -- python /e2e/tests/e2e/load.py http://mnist-inference-service:5000 "$1"
}

run_prometheus() {
  local image
  image=$(sed -n 's/^ *image: //p' manifests/monitoring/prometheus.yaml)
  command docker run --rm --volume "$PWD:/repo:ro" --entrypoint promtool "$image" test rules /repo/tests/e2e/alerts_test.yml \
    >"$tmp/promtool" 2>&1 || { cat "$tmp/promtool" >&3; die "the unit tests of the alerts failed"; }
  kubectl apply -k manifests/monitoring >/dev/null
  kubectl rollout status deployment/prometheus --timeout 3m >/dev/null
  forward_port deployment/prometheus 9090
  # One picture that cannot be used, for the panel that counts them.
  curl --silent --output /dev/null --form file=@README.md "http://$address:5000/predict"
  in_background load-for-prometheus load_in_the_cluster 50
}

query_prometheus() {
  finish_background load-for-prometheus
  wait_for 60 "every query of the dashboard and of the alerts has a result" \
    python3 tests/e2e/prometheus_queries.py "$url"
  note "$(tail -n 1 "$tmp/wait")"
  stop_forwarding
}

isolate_the_metrics_port() {
  local server
  server=$(kubectl get pods --selector app.kubernetes.io/name=mnist-inference --output 'jsonpath={.items[0].status.podIP}')
  contains reached from_pod probe "$server" 5000 || die "another Pod of the namespace cannot use the server"
  contains blocked from_pod probe "$server" 9100 || die "another Pod of the namespace reaches the metrics port"
  kubectl label pod probe --overwrite app.kubernetes.io/name=prometheus >/dev/null
  wait_for 120 "with the label of Prometheus the same Pod reaches the metrics port" \
    contains reached from_pod probe "$server" 9100
  kubectl label pod probe --overwrite app.kubernetes.io/name=probe >/dev/null
  wait_for 120 "without it, it does not" contains blocked from_pod probe "$server" 9100
  kubectl --namespace "$namespace-e2e" label pod probe app.kubernetes.io/name=prometheus >/dev/null
  sleep 5
  contains blocked from_pod --namespace "$namespace-e2e" probe "$server" 9100 ||
    die "a Pod of another namespace reaches the metrics port"
}

monitor() {
  start_the_probe
  run_prometheus
  isolate_the_metrics_port
  query_prometheus
}

install_metrics_server() { # it needs a minute until it has the CPU use of a Pod
  kubectl get apiservice v1beta1.metrics.k8s.io >/dev/null 2>&1 && return
  metrics_server=installed
  helm install metrics-server "$metrics_server_chart" --namespace kube-system \
    --set 'args={--kubelet-insecure-tls}' >/dev/null
}

wait_for_metrics_server() {
  wait_for 120 "metrics-server has the CPU use of the servers" \
    kubectl top pods --selector app.kubernetes.io/name=mnist-inference
}

replicas() { # COMPARISON: whether the number of ready servers fulfils it, for example ">= 4"
  local ready
  ready=$(field deployment mnist-inference .status.readyReplicas)
  (("${ready:-0} $1"))
}

autoscale() {
  local load_pid began
  wait_for_metrics_server
  cp -r manifests "$tmp/manifests"
  printf 'components:\n  - autoscaling\n' >>"$tmp/manifests/kustomization.yaml"
  kubectl apply -k "$tmp/manifests" >/dev/null
  # The default, five minutes, is for users; a test need not wait that long.
  kubectl patch hpa mnist-inference --type merge \
    --patch '{"spec": {"behavior": {"scaleDown": {"stabilizationWindowSeconds": 30}}}}' >/dev/null
  wait_for 120 "the autoscaler knows the CPU use, and there are two servers" autoscaler_is_ready
  # New connections every ten seconds, so that new servers receive some of them.
  while load_in_the_cluster 10; do :; done >"$tmp/load" 2>&1 &
  load_pid=$! began=$SECONDS
  wait_for 240 "under load there are at least four servers" replicas ">= 4"
  note "after $((SECONDS - began)) s: $(kubectl get hpa mnist-inference --no-headers)"
  kill -0 "$load_pid" 2>/dev/null || { cat "$tmp/load" >&3; die "requests failed while servers were added"; }
  kill "$load_pid"
  wait "$load_pid" || true
  began=$SECONDS
  wait_for 300 "without load there are two again" replicas "== 2"
  note "after $((SECONDS - began)) s"
  kubectl delete hpa mnist-inference >/dev/null
  kubectl apply -f manifests/inference.yaml >/dev/null
}

autoscaler_is_ready() {
  contains True field hpa mnist-inference '.status.conditions[?(@.type=="ScalingActive")].status' && servers_with Running True
}

model_of_the_servers() { kubectl exec deployment/mnist-inference -- cat /model/model.onnx; }

load_model_image() { # TAG FILE: as docs/beyond-one-node.md does
  mkdir "$tmp/$1"
  cp "$2" "$tmp/$1/model.onnx"
  printf 'FROM scratch\nCOPY model.onnx /\n' >"$tmp/$1/Dockerfile"
  BUILDX_NO_DEFAULT_ATTESTATIONS=1 command docker build --tag "mnist:$1" "$tmp/$1" >"$tmp/build" 2>&1 || { cat "$tmp/build" >&3; die "no image"; }
  kind load docker-image "mnist:$1" >/dev/null 2>&1 || die "cannot load mnist:$1"
}

serve_model_image() { # TAG
  sed "s/reference: .*/reference: mnist:$1/" manifests/beyond-one-node/image-volume/inference-patch.yaml \
    >"$tmp/image-volume/beyond-one-node/image-volume/inference-patch.yaml"
  kubectl apply -k "$tmp/image-volume" >/dev/null
  kubectl rollout status deployment/mnist-inference --timeout 3m >/dev/null
  wait_for 60 "both servers have the model of the image mnist:$1" only_new_version "$2"
}

servers_are_spread() {
  [[ $(kubectl get pods --selector app.kubernetes.io/name=mnist-inference --output 'jsonpath={range .items[*]}{.spec.nodeName}{"\n"}{end}' |
    sort -u | wc -l) == 2 ]] && servers_with Running True
}

serve_from_an_image_volume() { # needs first.onnx, a model other than the one that is served
  local claims_model
  claims_model=$(served_version)
  model_of_the_servers >"$tmp/second.onnx"
  load_model_image model-1 "$tmp/first.onnx"
  load_model_image model-2 "$tmp/second.onnx"
  cp -r manifests "$tmp/image-volume"
  printf 'components:\n  - beyond-one-node/image-volume\n' >>"$tmp/image-volume/kustomization.yaml"
  without_lost_requests serve_model_image model-1 "$claims_model"
  wait_for 60 "one server runs on each worker" servers_are_spread
  without_lost_requests serve_model_image model-2 "$(served_version)"
  [[ $(served_version) == "$claims_model" ]] || die "the servers have another model than the image"
}
