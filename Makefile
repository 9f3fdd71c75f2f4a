# The README's commands. `make run` needs Python 3.11 or newer, the cluster targets Docker, kind,
# kubectl and Helm. Settings: PORT (5000), MNIST_MIRROR, TORCH_INDEX (see training/install.sh).
PYTHON ?= python3
BIN := .venv/bin
.PHONY: run test testing-images bench bench-reading evaluate fuzz soak images requirements
.PHONY: cluster cluster-down e2e wheels actionlint clean

run: .venv/run
	@scripts/run.sh

test: .venv/test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pytest --numprocesses auto --maxprocesses 4 --dist worksteal

testing-images: .venv/run
	$(BIN)/python training/testing_images.py

# MODEL and FOLDER (DIGIT/NAME.png instead of MNIST's test set) can be set.
evaluate: .venv/run
	$(BIN)/python training/evaluate.py $(or $(MODEL),artifacts/model.onnx) $(FOLDER) --plots artifacts

bench: .venv/test
	$(BIN)/python bench/bench.py

bench-reading: .venv/test
	$(BIN)/python bench/bench_reading.py $(or $(MODEL),artifacts/model.onnx) --half report
	$(if $(BENCH_PEERS),$(BIN)/pip install --quiet --requirement bench/ocr-requirements.txt)
	$(if $(BENCH_PEERS),$(BIN)/python bench/ocr_programs.py $(or $(MODEL),artifacts/model.onnx))

fuzz: .venv/test
	$(BIN)/python tests/stress/fuzz.py --count 100000
	$(BIN)/python tests/stress/soak.py --replacements 1000 --requests 200000

soak: .venv/test
	OMP_NUM_THREADS=1 $(BIN)/python tests/stress/soak_training.py --kills 30

images:
	BUILDX_NO_DEFAULT_ATTESTATIONS=1 docker build -t mnist:train $(DOCKER_BUILD_ARGS) training
	BUILDX_NO_DEFAULT_ATTESTATIONS=1 docker build -t mnist:inference $(DOCKER_BUILD_ARGS) inference

cluster:
	scripts/cluster-up.sh

cluster-down:
	scripts/cluster-down.sh

e2e:
	tests/e2e/e2e.sh

# After a change of a requirements.in. Needs uv (https://docs.astral.sh/uv).
requirements:
	for folder in training inference; do (cd $$folder && uv pip compile --quiet --universal --python-version 3.11 \
	  --generate-hashes --custom-compile-command "make requirements" --output-file requirements.txt requirements.in) || exit; done

wheels:
	scripts/check-wheels.sh

actionlint:
	go run github.com/rhysd/actionlint/cmd/actionlint@v1.7.12

clean:
	rm -rf .venv artifacts

# Changes only if TORCH_INDEX does, so that packages are installed again for another build of torch.
.venv/torch-index: FORCE
	@mkdir -p .venv
	@echo '$(if $(filter undefined,$(origin TORCH_INDEX)),default,$(TORCH_INDEX))' | cmp -s - $@ || \
	  echo '$(if $(filter undefined,$(origin TORCH_INDEX)),default,$(TORCH_INDEX))' > $@
FORCE:

.venv/run: .venv/torch-index training/requirements.txt training/torch.txt training/install.sh inference/requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed")'
	@echo "Installing packages into .venv, which takes some minutes the first time"
	@$(PYTHON) -m venv .venv
	@sh training/install.sh $(BIN)/pip
	@$(BIN)/pip install --quiet --requirement inference/requirements.txt
	@touch $@

.venv/test: .venv/run requirements-dev.txt
	@$(BIN)/pip install --quiet --requirement requirements-dev.txt
	@touch $@
