#!/bin/sh
# Installs requirements.txt, whose packages have hashes, and torch.txt: the CPU builds of torch and torchvision from
# TORCH_INDEX, an index of PyTorch, or, if TORCH_INDEX is empty or does not answer, the larger CUDA builds from PyPI.
# Usage: sh install.sh PIP
set -eu
pip=${1:-pip}
folder=$(dirname "$0")
index=${TORCH_INDEX-https://download.pytorch.org/whl/cpu}
torch=$(grep '^torch' "$folder/torch.txt")

# pip regards an installed CPU build as good enough for the same version, so remove it first.
if [ -z "$index" ] && "$pip" freeze | grep -q '^torch==.*+cpu$'; then
  "$pip" uninstall --quiet --yes torch torchvision
fi
"$pip" install --quiet --require-hashes --requirement "$folder/requirements.txt"
# Two packages only are looked up there, with few retries: an unreachable index costs seconds.
# shellcheck disable=SC2086 # lists of words
"$pip" install --quiet --no-deps --retries 1 --timeout 10 ${index:+--extra-index-url "$index"} $torch
# The CUDA build needs more packages than requirements.txt has.
# shellcheck disable=SC2086 # a list of words
"$pip" install --quiet $torch
