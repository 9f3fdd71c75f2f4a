#!/bin/sh
# Installs requirements.txt with the CPU build of torch where TORCH_INDEX, PyTorch's own index,
# answers, and with PyPI's larger CUDA build where it does not or is empty. Usage: sh install.sh PIP
set -eu
pip=${1:-pip}
requirements=$(dirname "$0")/requirements.txt
index=${TORCH_INDEX-https://download.pytorch.org/whl/cpu}

# Two packages only are looked for there, with few retries: an index out of reach costs seconds.
# shellcheck disable=SC2046,SC2086 # both are lists of words
"$pip" install --quiet --no-deps --retries 1 --timeout 10 ${index:+--extra-index-url "$index"} \
  $(grep '^torch' "$requirements")
"$pip" install --quiet --requirement "$requirements"
