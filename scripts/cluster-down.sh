#!/usr/bin/env bash
# Deletes the kind cluster of cluster-up.sh (make cluster-down). Setting: CLUSTER_NAME (kind).
set -euo pipefail
kind delete cluster --name "${CLUSTER_NAME:-kind}"
