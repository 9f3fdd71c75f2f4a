#!/usr/bin/env bash
# Applies manifests with their 172.18.255.x addresses moved to the top of kind's Docker network, for machines on which
# that network is not 172.18.0.0/16. Usage: scripts/lb-apply.sh manifests/cilium-ip-pool.yaml
# Setting: KIND_EXPERIMENTAL_DOCKER_NETWORK, as for kind (kind)
set -euo pipefail
[[ $# -gt 0 ]] || { echo "usage: $0 FILE..." >&2; exit 2; }

network=${KIND_EXPERIMENTAL_DOCKER_NETWORK:-kind}
subnet=$(docker network inspect "$network" --format '{{range .IPAM.Config}}{{println .Subnet}}{{end}}' | grep -v : | head -n 1)
IFS=./ read -r a b c d bits <<<"$subnet"
if ((bits > 24)); then
  echo "lb-apply: the Docker network $network is $subnet, which has no room for addresses beside its nodes; use a /24 or larger" >&2
  exit 1
fi
last=$((((a << 24) + (b << 16) + (c << 8) + d) | ((1 << (32 - bits)) - 1)))
prefix=$((last >> 24)).$((last >> 16 & 255)).$((last >> 8 & 255))

echo "The Docker network $network is $subnet: LoadBalancer addresses are $prefix.201 to $prefix.206"
for file in "$@"; do
  sed "s/172\.18\.255\./$prefix./g" "$file" | kubectl apply -f -
done
