#!/usr/bin/env bash
# Failover of the Service's address for tests/e2e/e2e.sh: the agent or the node that announces it stops.
# Sourced by it.
# shellcheck disable=SC2154,SC2034
announcing_node() {
  kubectl --namespace kube-system get lease "cilium-l2announce-$namespace-mnist-inference-service" --output 'jsonpath={.spec.holderIdentity}'
}

announced_by_another() { # NODE: whether another node holds the Lease, and the address resolves to its MAC address
  local holder
  holder=$(announcing_node)
  [[ -n $holder && $holder != "$1" ]] || return 1
  resolves_to "$holder"
}

resolves_to() { # NODE: whether the host has the node's MAC address for the Service's address
  local mac
  mac=$(docker exec "$1" cat /sys/class/net/eth0/address)
  curl --silent --max-time 2 --output /dev/null "http://$address:5000/healthz" || return 1
  contains "lladdr $mac" ip neigh show "$address"
}

no_agent_on() { prints_nothing kubectl --namespace kube-system get pods --selector k8s-app=cilium --field-selector "spec.nodeName=$1" --output name; }

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

fail_over_when_the_agent_stops() {
  local node
  node=$(announcing_node)
  [[ -n $node ]] || die "no node announces the address"
  resolves_to "$node" || die "the address does not resolve to the MAC address of $node, which holds the Lease"
  keep_cilium_off "$node"
  wait_for 60 "the agent on $node has stopped" no_agent_on "$node"
  wait_for 90 "another node holds the Lease and answers for the address" announced_by_another "$node"
  note "$node -> $(announcing_node)"
  let_cilium_back
}

times_of_answers() { # asks about three times per second, and prints when there was an answer
  while sleep 0.2; do
    curl --silent --max-time 1 --output /dev/null "http://$address:5000/healthz" && date +%s.%N
  done
}

# After a stop of some seconds, Kubernetes still reports the node as Ready, and then taints it until its Cilium agent runs.
runs_pods_since() { # NODE TIME: whether the node's kubelet and Cilium agent have started since then, and Pods may run there
  local agent
  [[ $(field node "$1" '.status.conditions[?(@.type=="Ready")].lastHeartbeatTime') > $2 ]] || return 1
  agent=$(kubectl --namespace kube-system get pods --selector k8s-app=cilium --field-selector "spec.nodeName=$1" \
    --output 'jsonpath={.items[0].status.containerStatuses[0].state.running.startedAt} {.items[0].status.containerStatuses[0].ready}')
  [[ ${agent% *} > $2 && ${agent#* } == true ]] || return 1
  prints_nothing kubectl get node "$1" --output 'jsonpath={.spec.taints}'
}

fail_over_when_the_node_stops() {
  local node asking started
  # The servers' node must survive.
  [[ $(announcing_node) != "$worker" ]] || fail_over_when_the_agent_stops
  node=$(announcing_node)
  stopped=$node
  times_of_answers >"$tmp/answers" &
  asking=$!
  sleep 2
  docker stop --time 1 "$node" >/dev/null
  wait_for 180 "$node was stopped; another node answers for the address" announced_by_another "$node"
  sleep 5
  kill "$asking"
  note "no answer for $(awk 'NR > 1 && $1 - last > gap { gap = $1 - last } { last = $1 } END { printf "%.1f", gap }' "$tmp/answers") s; $(load 3)"
  started=$(date --utc +%FT%TZ)
  docker start "$node" >/dev/null
  stopped=
  wait_for 300 "$node runs Pods again" runs_pods_since "$node" "$started"
}
