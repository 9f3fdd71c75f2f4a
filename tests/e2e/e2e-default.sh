#!/usr/bin/env bash
# Steps 4 to 9 of the README in the namespace default, for tests/e2e/e2e.sh. Sourced by it.
# shellcheck disable=SC2154
create_training_settings() { # EPOCHS: in the current namespace
  kubectl create configmap training-settings --from-literal "EPOCHS=$1" \
    ${MNIST_MIRROR:+--from-literal "MNIST_MIRROR=$MNIST_MIRROR"} ${DATASET:+--from-literal "DATASET=$DATASET"} >/dev/null
}

train_in_a_pod() {
  # One epoch, because nothing is interrupted here.
  create_training_settings 1
  readme 4
  wait_for 60 "the Pod has trained" trained mnist-train
  kubectl logs mnist-train --tail 3 | sed 's/^/    /'
}

train_on_the_labelled_node() {
  readme 5
  contains "didn't match Pod's node affinity" kubectl get events --field-selector involvedObject.name=mnist-train-affinity ||
    die "the Pod was never Pending for want of the label"
  trained mnist-train-affinity || die "the Pod has not trained"
  [[ $(field pod mnist-train-affinity .spec.nodeName) == "$worker" ]] || die "it ran on another node"
  note "Pending without the label, trained on $worker with it"
}

serve_in_default() {
  readme 6
  readme 7
  answer_from_outside
  readme 9
  kubectl delete configmap training-settings >/dev/null
  wait_for 60 "nothing of it is left" prints_nothing kubectl get "$demo_kinds" --selector "$demo" --output name
}

answer_from_outside() {
  [[ -z ${background[packages]-} ]] || finish_background packages
  readme 8 "${DATASET:+/make testing-images/d; s#data/testing/7/7030.jpg#samples/digits/7.png#}"
  contains " $address " cat "$tmp/step.log" || die "the Service does not have the first address of the pool, $address"
  contains '{"prediction": 7}' cat "$tmp/step.log" || die "the README's request was not answered with a 7"
  note "http://$address:5000: $(load 3)"
}
