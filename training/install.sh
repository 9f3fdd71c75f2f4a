#!/bin/sh
# Installs requirements.txt with the CPU build of torch from TORCH_INDEX, an index of PyTorch, or, if
# TORCH_INDEX is empty or does not answer, with the larger CUDA build from PyPI.
# Usage: sh install.sh PIP
set -eu
pip=${1:-pip}
requirements=$(dirname "$0")/requirements.txt
index=${TORCH_INDEX-https://download.pytorch.org/whl/cpu}
torch=$(grep '^torch==' "$requirements")

# pip regards an installed CPU build as good enough for the same version, so remove it first.
if [ -z "$index" ] && "$pip" freeze | grep -q '^torch==.*+cpu$'; then
  "$pip" uninstall --quiet --yes torch
fi
# One package only is looked up there, with few retries: an unreachable index costs seconds.
# shellcheck disable=SC2086 # a list of words
"$pip" install --quiet --no-deps --retries 1 --timeout 10 ${index:+--extra-index-url "$index"} "$torch"
"$pip" install --quiet --requirement "$requirements"
