#!/usr/bin/env bash
# Trains a model unless there is one, and serves it until Ctrl-C (make run). Setting: PORT (5000).
set -euo pipefail
cd "$(dirname "$0")/.."
python=.venv/bin/python
export MODEL_PATH=artifacts/model.onnx PORT=${PORT:-5000}

if [[ -f $MODEL_PATH ]]; then
  echo "$MODEL_PATH is there already: serving it (delete it to train anew)"
else
  code=0
  $python training/train.py || code=$?
  if ((code == 65 || code == 69)); then
    echo "No mirror has MNIST: going on with digits of our own drawing (--dataset synthetic)"
    code=0
    $python training/train.py --dataset synthetic || code=$?
  fi
  ((code == 0)) || exit "$code"
fi
echo "Serving on http://localhost:$PORT (Ctrl-C ends it)"
exec .venv/bin/gunicorn -c inference/gunicorn.conf.py
