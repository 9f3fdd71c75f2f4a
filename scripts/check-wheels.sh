#!/usr/bin/env bash
# Checks that every pinned package has a wheel for each supported Python on Linux (x86-64, ARM) and macOS (ARM): make wheels.
# Needs uv (https://docs.astral.sh/uv). It asks the package index for metadata only, and installs nothing.
set -euo pipefail
cd "$(dirname "$0")/.."
export MACOSX_DEPLOYMENT_TARGET=14.0 # the oldest macOS that torch has wheels for
target=$(mktemp -d)
trap 'rm -rf "$target"' EXIT

for python in 3.11 3.12 3.13 3.14; do
  for platform in x86_64-manylinux_2_28 aarch64-manylinux_2_28 aarch64-apple-darwin; do
    [[ $python-$platform != 3.11-aarch64-apple-darwin ]] || continue # gevent has no such wheel
    for file in training/requirements.txt training/torch.txt inference/requirements.txt; do
      uv pip install --quiet --dry-run --no-deps --only-binary :all: --target "$target" \
        --python-version "$python" --python-platform "$platform" --requirement "$file"
    done
    echo "Python $python, $platform: every package has a wheel"
  done
done
