#!/usr/bin/env bash
# Trains a model if there is none, and serves it until Ctrl-C (make run).
# Settings: PORT (5000), OUTPUT_DIR (artifacts), DATASET and the other settings of train.py.
set -euo pipefail
cd "$(dirname "$0")/.."
python=.venv/bin/python
export OUTPUT_DIR=${OUTPUT_DIR:-artifacts} PORT=${PORT:-5000}
export MODEL_PATH=$OUTPUT_DIR/model.onnx

# The dataset that the model was trained on; nothing if there is no readable model.
trained_on=$($python -c '
import onnx, sys
metadata = {each.key: each.value for each in onnx.load(sys.argv[1]).metadata_props}
print(metadata.get("dataset", "other data"))
' "$MODEL_PATH" 2>/dev/null || true)
# Without DATASET, an existing model is served whatever it was trained on, but MNIST replaces synthetic digits.
wanted=${DATASET:-${trained_on/#synthetic/mnist}}
if [[ -n $trained_on && $trained_on == "$wanted" ]]; then
  echo "Serving $MODEL_PATH, trained on $trained_on, which exists already (delete it to train again)"
else
  code=0
  $python training/train.py || code=$?
  # An unreachable public mirror is expected on some networks. Wrong data, or a mirror that somebody
  # has chosen, must not be replaced by drawn digits silently.
  if ((code == 69)) && [[ ${DATASET:-mnist} == mnist && -z ${MNIST_MIRROR:-} ]]; then
    code=0
    if [[ $trained_on == synthetic ]]; then
      echo "MNIST is still not available: serving the model that was trained on synthetic digits"
    else
      echo "MNIST is not available: training on synthetic digits until it is"
      $python training/train.py --dataset synthetic || code=$?
    fi
  elif ((code != 0)) && [[ ${DATASET:-mnist} == mnist ]]; then
    echo "Training failed. DATASET=synthetic make run trains without a download." >&2
  fi
  ((code == 0)) || exit "$code"
fi
echo "Serving on http://localhost:$PORT (Ctrl-C stops it)"
exec .venv/bin/gunicorn -c inference/gunicorn.conf.py
