#!/usr/bin/env bash
# Functions for tests/e2e/e2e.sh: steps with their times, the README's commands, waiting, load, cleaning up.
# Sourced by it; $namespace, $worker, $cluster, $address and $tmp are set there.
# shellcheck disable=SC2154,SC2034
exec 3>&2 # for messages from inside a command whose output is redirected

step() { # TITLE: ends the previous step and prints its time
  [[ -z ${doing-} ]] || echo "    done in $((SECONDS - began)) s"
  doing=$1 began=$SECONDS
  echo "==> $1"
}

note() { echo "    $*"; }

die() {
  echo "e2e: $*" >&3
  exit 1
}

# The commands of one step of the README, as written there; blocks after "not run by make e2e" are left out.
readme() { # NUMBER [SED_SCRIPT]
  awk -v heading="### $1. " '
    /^### / || /^## / { inside = index($0, heading) == 1 }
    /<!-- not run by make e2e/ { skip = 1 }
    /^```bash/ { code = !skip; skip = 0; next }
    /^```/ { code = 0; next }
    inside && code' README.md | sed "s/kind-worker/$worker/g; s/172\.18\.255\.201/$address/g; ${2-}" >"$tmp/step.sh"
  [[ -s $tmp/step.sh ]] || die "the README has no commands for step $1"
  # A process of its own, because bash ignores set -e inside a function or subshell that is followed by ||.
  bash -e "$tmp/step.sh" >"$tmp/step.log" 2>&1 || { cat "$tmp/step.log" >&3; die "step $1 of the README failed"; }
}

wait_for() { # SECONDS SENTENCE COMMAND...: until the command succeeds
  local seconds=$1 sentence=$2 deadline=$((SECONDS + $1))
  shift 2
  until "$@" >"$tmp/wait" 2>&1; do
    ((SECONDS < deadline)) || { cat "$tmp/wait" >&3; die "not true after $seconds s: $sentence"; }
    sleep 1
  done
  note "$sentence"
}

declare -A background # the process of each name

in_background() { # NAME COMMAND...: starts the command, so that the steps until `finish_background NAME` need not wait for it
  "${@:2}" >"$tmp/$1.log" 2>&1 &
  background[$1]=$!
}

finish_background() { # NAME: waits for the command, which must succeed
  wait "${background[$1]}" || { cat "$tmp/$1.log" >&3; die "failed in the background: $1"; }
  unset "background[$1]"
}

contains() { # TEXT COMMAND...: whether the command succeeds and prints the text
  local text=$1 output
  shift
  output=$("$@" 2>&1) || { echo "$output"; return 1; }
  [[ $output == *"$text"* ]] || { echo "$output"; return 1; }
}

prints_nothing() { # COMMAND...: whether the command succeeds without any output
  local output
  output=$("$@") || die "failed: $*"
  [[ -z $output ]]
}

fails_with() { # TEXT COMMAND...: whether the command fails and prints the text
  local text=$1 output
  shift
  if output=$("$@" 2>&1); then return 1; fi
  [[ $output == *"$text"* ]]
}

trained() { # POD: whether it has succeeded; dies if it has failed
  case $(kubectl get pod "$1" --output 'jsonpath={.status.phase}') in
    Succeeded) ;;
    Failed) die "the Pod $1 failed" ;;
    *) return 1 ;;
  esac
}

field() { kubectl get "$1" "$2" --output "jsonpath={$3}"; } # KIND NAME PATH

servers_with() { # PHASE READY: whether there are exactly two servers, with this phase and value of Ready (none if Pending)
  local found
  found=$(kubectl get pods --selector app.kubernetes.io/name=mnist-inference \
    --output 'jsonpath={range .items[*]}{.status.phase} {.status.conditions[?(@.type=="Ready")].status}{"\n"}{end}')
  [[ $found == "$1 $2"$'\n'"$1 $2" ]]
}

server_containers() {
  kubectl get pods --selector app.kubernetes.io/name=mnist-inference --output 'jsonpath={.items[*].status.containerStatuses[*].containerID}'
}

load() { python3 tests/e2e/load.py "http://$address:5000" "$@"; }

served_version() {
  curl --silent --show-error --fail --max-time 10 "http://$address:5000/version" |
    python3 -c 'import json, sys; print(json.load(sys.stdin)["model"]["model_version"])'
}

# Whether 40 new connections in a row reach a model other than OLD. One stale worker of four would go unnoticed with
# a probability of 0.75^40, one in 100,000.
only_new_version() { # OLD
  local version i
  version=$(served_version)
  [[ -n $version && $version != "$1" ]] || return 1
  for ((i = 0; i < 40; i++)); do [[ $(served_version) == "$version" ]] || return 1; done
}

without_lost_requests() { # COMMAND...: runs it under load; every request must be answered, and correctly
  rm -f "$tmp/stop"
  load 600 "$tmp/stop" >"$tmp/load" 2>&1 &
  local pid=$! code=0
  "$@"
  sleep 2
  touch "$tmp/stop"
  wait "$pid" || code=$?
  note "load: $(cat "$tmp/load")"
  ((code == 0)) || die "requests failed"
}

forward_port() { # RESOURCE PORT: forwards a free local port to it and sets $url; stop_forwarding ends it
  rm -f "$tmp/forward"
  kubectl port-forward "$1" ":$2" >"$tmp/forward" 2>&1 &
  forward=$!
  wait_for 30 "a port is forwarded to $1" grep -q "^Forwarding from 127.0.0.1" "$tmp/forward"
  url=http://127.0.0.1:$(sed -n 's/^Forwarding from 127.0.0.1:\([0-9]*\) .*/\1/p' "$tmp/forward")
}

stop_forwarding() {
  [[ -z ${forward-} ]] || kill "$forward" 2>/dev/null || true
  forward=
}

from_pod() { # [kubectl's flags and] POD HOST PORT: prints reached or blocked
  kubectl exec "${@:1:$#-2}" -- python -c '
import socket, sys
try:
    socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=3)
    print("reached")
except TimeoutError:
    print("blocked")' "${@: -2}"
}

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

finish() { # runs whenever the script ends, also after a signal
  local code=$?
  trap - EXIT INT TERM
  touch "$tmp/stop"
  [[ $code == 0 || ! -s $tmp/kubeconfig ]] || report_failure >&2
  [[ -z ${stopped-} ]] || docker start "$stopped" >/dev/null || true
  stop_forwarding
  [[ ${#background[@]} == 0 ]] || kill "${background[@]}" 2>/dev/null || true
  if [[ -s $tmp/kubeconfig ]]; then
    [[ -z ${metrics_server-} ]] || helm uninstall metrics-server --namespace kube-system >/dev/null || true
    let_cilium_back || true
    kubectl uncordon "$worker" >/dev/null || true
    kubectl label nodes "$worker" training- >/dev/null || true
    kubectl delete namespace "$namespace" "$namespace-e2e" --ignore-not-found >/dev/null || true
    kubectl --namespace default delete "$demo_kinds" --selector "$demo" >/dev/null || true
    kubectl --namespace default delete configmap training-settings --ignore-not-found >/dev/null || true
  fi
  rm -rf "$tmp"
  [[ $code == 0 ]] && echo "==> passed in $SECONDS s" || echo "==> failed after $SECONDS s"
  exit "$code"
}
