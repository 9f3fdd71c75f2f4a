#!/usr/bin/env bash
# What tests/e2e.sh is made of: steps with their times, waiting, the load, the report of a failure, cleaning up.
# Sourced by it; $namespace, $worker, $digit, $address and $tmp are its own.
# shellcheck disable=SC2154
exec 3>&2  # where a message goes from inside of a command whose output is put aside

step() { # TITLE: ends the step before, with its time
  [[ -z ${doing-} ]] || echo "    done in $((SECONDS - began)) s"
  doing=$1 began=$SECONDS
  echo "==> $1"
}

note() { echo "    $*"; }

die() {
  echo "e2e: $*" >&3
  exit 1
}

must_not() { ! "$@"; }

wait_for() { # SECONDS SENTENCE COMMAND...: until the command succeeds
  local seconds=$1 sentence=$2 deadline=$((SECONDS + $1))
  shift 2
  until "$@" >"$tmp/wait" 2>&1; do
    ((SECONDS < deadline)) || { cat "$tmp/wait" >&3; die "after $seconds s still not so: $sentence"; }
    sleep 1
  done
  note "$sentence"
}

contains() { # TEXT COMMAND...: whether the command prints the text, whatever its exit status
  local text=$1 output
  shift
  output=$("$@" 2>&1) || true
  [[ $output == *"$text"* ]]
}

# A kubeconfig of its own, so that the namespace is this run's and the user's own context stays as it is.
own_kubeconfig() {
  kubectl config view --minify --flatten >"$tmp/kubeconfig"
  export KUBECONFIG=$tmp/kubeconfig
  kubectl config set-context --current --namespace "$namespace" >/dev/null
}

trained() { # POD: whether it has succeeded; dies if it has failed
  case $(kubectl get pod "$1" --output 'jsonpath={.status.phase}') in
    Succeeded) ;;
    Failed) die "the Pod $1 has failed" ;;
    *) return 1 ;;
  esac
}

predict() { curl --silent --show-error --fail --max-time 10 --form "file=@$digit" "http://$address:5000/predict"; }

served_version() { curl --silent --fail --max-time 10 "http://$address:5000/version" | sed -n 's/.*"model_version": *"\([^"]*\)".*/\1/p'; }

only_new_version() { # OLD: whether ten answers in a row come from one model, another than OLD
  local version i
  version=$(served_version)
  [[ -n $version && $version != "$1" ]] || return 1
  for i in {1..10}; do [[ $(served_version) == "$version" ]] || return 1; done
}

without_lost_requests() { # COMMAND...: runs it while requests come in from outside, each of which must be answered
  local requests=0 lost
  rm -f "$tmp/stop" "$tmp/codes"
  (for ((i = 0; i < 3000; i++)); do
    [[ ! -e $tmp/stop ]] || break
    curl --silent --output /dev/null --write-out '%{http_code}\n' --max-time 10 \
      --form "file=@$digit" "http://$address:5000/predict" >>"$tmp/codes" || true
    sleep 0.1
  done) &
  local load=$!
  "$@"
  sleep 2
  touch "$tmp/stop"
  wait "$load"
  requests=$(wc -l <"$tmp/codes")
  lost=$(grep -vcx 200 "$tmp/codes" || true)
  ((requests > 20)) || die "only $requests requests were sent"
  [[ $lost == 0 ]] || die "$lost of $requests requests failed: $(sort "$tmp/codes" | uniq -c | tr -s '\n ' ' ')"
  note "$requests requests meanwhile, every one answered"
}

from_a_server() { # HOST PORT: prints reached or blocked
  kubectl exec deployment/mnist-inference -- python -c '
import socket, sys
try:
    socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=3)
    print("reached")
except OSError:
    print("blocked")' "$@"
}

two_servers() { # Running or Ready
  local found
  if [[ $1 == Ready ]]; then
    found=$(kubectl get deployment mnist-inference --output 'jsonpath={.status.readyReplicas}')
  else
    found=$(kubectl get pods --selector app.kubernetes.io/name=mnist-inference --field-selector status.phase=Running --output name | wc -l)
  fi
  [[ $found == 2 ]]
}

server_containers() {
  kubectl get pods --selector app.kubernetes.io/name=mnist-inference --output 'jsonpath={.items[*].status.containerStatuses[*].containerID}'
}

announcing_node() {
  kubectl --namespace kube-system get lease "cilium-l2announce-$namespace-mnist-inference-service" --output 'jsonpath={.spec.holderIdentity}'
}

announced_by_another() { [[ -n $(announcing_node) && $(announcing_node) != "$1" ]]; }

no_agent_on() { [[ -z $(kubectl --namespace kube-system get pods --selector k8s-app=cilium --field-selector "spec.nodeName=$1" --output name) ]]; }

# The Cilium agent is kept off a node, or let back, without touching the agents of the other nodes.
keep_cilium_off() { # NODE
  update_strategy=$(kubectl --namespace kube-system get daemonset cilium --output 'jsonpath={.spec.updateStrategy}')
  kubectl --namespace kube-system patch daemonset cilium --type merge --patch '{"spec": {
    "updateStrategy": {"type": "OnDelete", "rollingUpdate": null},
    "template": {"spec": {"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {
      "nodeSelectorTerms": [{"matchExpressions": [
        {"key": "kubernetes.io/hostname", "operator": "NotIn", "values": ["'"$1"'"]}]}]}}}}}}}' >/dev/null
}

let_cilium_back() {
  [[ -n ${update_strategy-} ]] || return 0
  kubectl --namespace kube-system patch daemonset cilium --type merge --patch '{"spec": {
    "template": {"spec": {"affinity": {"nodeAffinity": null}}},
    "updateStrategy": '"$update_strategy"'}}' >/dev/null
  kubectl --namespace kube-system rollout status daemonset/cilium --timeout 5m >/dev/null
  update_strategy=
}

# What a person would look at first.
report_failure() {
  echo "==> FAILED in: ${doing-the beginning}"
  kubectl get nodes --show-labels || true
  kubectl get pods,jobs,services,persistentvolumeclaims --output wide || true
  kubectl describe pods || true
  for pod in $(kubectl get pods --output name); do
    echo "--- logs of $pod"
    kubectl logs "$pod" --tail 30 || true
  done
  kubectl get events --sort-by .lastTimestamp | tail -n 30 || true
  kubectl --namespace kube-system get pods --output wide || true
}

finish() { # runs at every end of the script, a signal's too
  local code=$?
  trap - EXIT INT TERM
  touch "$tmp/stop"
  [[ $code == 0 || ! -s $tmp/kubeconfig ]] || report_failure >&2
  if [[ -s $tmp/kubeconfig ]]; then
    let_cilium_back || true
    kubectl uncordon "$worker" >/dev/null || true
    kubectl label nodes "$worker" training- >/dev/null || true
    kubectl delete namespace "$namespace" --ignore-not-found >/dev/null || true
  fi
  rm -rf "$tmp"
  [[ $code == 0 ]] && echo "==> passed in $SECONDS s" || echo "==> failed after $SECONDS s"
  exit "$code"
}
