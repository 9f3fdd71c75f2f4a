#!/usr/bin/env bash
# Creates a kind cluster with Cilium and an address pool for LoadBalancer Services (make cluster). Settings:
#   CLUSTER_NAME         kind's name for the cluster (kind)
#   KIND_NODE_IMAGE      the node image, that is, the Kubernetes version, instead of that in kind-config.yaml
#   CILIUM_CHART         a chart's URL, a folder, or REPOSITORY/CHART
#   CILIUM_EXTRA_VALUES  an additional file of Helm values
set -euo pipefail
cd "$(dirname "$0")/.."
CLUSTER_NAME=${CLUSTER_NAME:-kind}
CILIUM_CHART=${CILIUM_CHART:-https://helm.cilium.io/cilium-1.20.2.tgz}

for tool in docker kind kubectl helm; do
  command -v "$tool" >/dev/null || { echo "cluster-up: $tool is not installed" >&2; exit 69; }
done
if kind get clusters 2>/dev/null | grep -qx "$CLUSTER_NAME"; then
  echo "cluster-up: the cluster $CLUSTER_NAME exists already; make cluster-down deletes it" >&2
  exit 1
fi

kind create cluster --name "$CLUSTER_NAME" --config kind-config.yaml ${KIND_NODE_IMAGE:+--image "$KIND_NODE_IMAGE"}
helm install cilium "$CILIUM_CHART" --namespace kube-system --values samples/cilium-helm-values.yaml \
  ${CILIUM_EXTRA_VALUES:+--values "$CILIUM_EXTRA_VALUES"} --set k8sServiceHost="$CLUSTER_NAME-control-plane"
kubectl --namespace kube-system rollout status daemonset/cilium --timeout 10m
kubectl wait --for condition=Ready nodes --all --timeout 5m
# Cilium's operator registers these CRDs some time after the chart has been installed.
for crd in ciliumloadbalancerippools ciliuml2announcementpolicies; do
  kubectl wait --for create "crd/$crd.cilium.io" --timeout 5m
  kubectl wait --for condition=Established "crd/$crd.cilium.io" --timeout 1m
done
scripts/lb-apply.sh manifests/cilium-ip-pool.yaml manifests/cilium-l2-policy.yaml
