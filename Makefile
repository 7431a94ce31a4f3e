# Everything runs in .venv, which the first target that needs it makes.
#   make train RECIPE=gemma2-simpo ARGS="--learning_rate 1e-6"

RECIPE     ?= quickstart
ARGS       ?=
PYTHON     ?= $(shell command -v python3.11 || command -v python3)
ACCELERATE ?= zero3
NNODES     ?= 1
NODE_RANK  ?= 0
MASTER_ADDR ?= 127.0.0.1
MASTER_PORT ?= 29500
VENV       := .venv
# Threads that wait asleep: two busy-waiting ones are many times slower as soon as something else uses a core.
export OMP_WAIT_POLICY ?= PASSIVE
PY         := $(VENV)/bin/python
READY      := $(VENV)/.ready
# An environment of its own for test-cuda-build; 5 GB.
CUDA       := .venv-cuda
CUDA_NEEDS := accelerate jinja2 numpy peft psutil pydantic pytest pyyaml rich safetensors transformers

yes         = $(filter 1 true yes,$(1))
WHERE       = $(if $(call yes,$(PRIVATE)),--private) $(if $(REVISION),--revision $(REVISION)) $(if $(TAG),--tag $(TAG)) $(if $(call yes,$(DRY_RUN)),--dry_run)
PUBLISHED   = $(if $(call yes,$(PUSH)),--push_to_hub true) $(if $(HUB_DATASET_ID),--hub_dataset_id $(HUB_DATASET_ID)) $(if $(call yes,$(PRIVATE)),--hub_private_repo true) $(if $(REVISION),--hub_revision $(REVISION))

PLAN        = $(if $(GPU),--gpu $(GPU)) $(if $(filter-out file undefined,$(origin NPROC)),--nproc $(NPROC)) $(if $(filter-out file undefined,$(origin NNODES)),--nnodes $(NNODES)) $(if $(PRICE_PER_GPU_HOUR),--price_per_gpu_hour $(PRICE_PER_GPU_HOUR)) $(if $(call yes,$(JSON)),--json)

EVALUATE    = $(if $(SUITE),--suite "$(SUITE)") $(if $(MODEL),--model "$(MODEL)") $(if $(COMPARE),--compare "$(COMPARE)") $(if $(call yes,$(FRESH)),--fresh)

# One word of the shell, whatever is in the variable.
quoted      = '$(subst ','\'',$(value $(1)))'
ASK         = $(if $(MODEL),--model $(call quoted,MODEL))

CONFIG     := $(if $(wildcard $(ACCELERATE)),$(ACCELERATE),configs/accelerate/$(ACCELERATE).yaml)
# One process a GPU under the configurations for GPUs, as many as the file says under any other, else one.
STATED     := $(shell sed -n 's/^num_processes: *\([0-9]*\).*/\1/p' $(CONFIG) 2>/dev/null)
GPUS       := $(shell n=$$(nvidia-smi -L 2>/dev/null | grep -c '^GPU'); \
                [ -z "$${CUDA_VISIBLE_DEVICES+x}" ] || n=$$(echo "$$CUDA_VISIBLE_DEVICES" | tr ',' '\n' | grep -c .); \
                [ $$n -gt 0 ] && echo $$n || echo 1)
NPROC      ?= $(if $(filter zero1 zero2 zero3 zero3_offload fsdp2 ddp,$(ACCELERATE)),$(GPUS),$(or $(STATED),$(GPUS)))
# NPROC counts the processes of one machine; every machine of several runs the same command with its NODE_RANK.
WORLD      := $(shell expr $(NPROC) '*' $(NNODES))
RENDEZVOUS := $(if $(filter 1,$(NNODES)),--main_process_port 0,--num_machines $(NNODES) --machine_rank $(NODE_RANK) \
              --main_process_ip $(MASTER_ADDR) --main_process_port $(MASTER_PORT))
LAUNCHER   := $(PY) -m alignment.run.launch --config_file $(CONFIG) --num_processes $(WORLD) $(RENDEZVOUS)
ALIGNMENT  := $(PY) -m alignment.cli
# Workers that draw and score answers exchange nothing, so that any configuration starts them.
WORKERS    := $(if $(filter 1,$(WORLD)),$(PY),$(PY) -m alignment.run.launch --config_file configs/accelerate/ddp.yaml \
              --num_processes $(WORLD) $(RENDEZVOUS))
# A cell of a sweep takes its share of the processes.
SWEEP       = $(if $(PARALLEL),--parallel $(PARALLEL)) $(if $(KEEP),--keep $(KEEP)) \
              $(if $(filter 1-file,$(WORLD)-$(origin ACCELERATE)),,--accelerate $(CONFIG) --processes $(shell expr $(NPROC) / $(or $(PARALLEL),1)))
LAUNCH     := $(if $(filter 1-file,$(WORLD)-$(origin ACCELERATE)),$(PY),$(LAUNCHER))

.DEFAULT_GOAL := help
.PHONY: help install install-flash check plan data rehearse report compare sweep train pairs loop generate chat evaluate push push-data bench bench-gpu verify-gpu test test-cuda-build quality style clean

help: ## this list
	@echo "make <target> [RECIPE=quickstart] [NPROC=$(NPROC)] [ARGS=\"--key value ...\"]"; echo
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  %-15s %s\n", $$1, $$2}'
	@echo; echo "recipes: $$(cd recipes && ls */*.yaml | sed 's|/config.yaml||; s|.yaml||' | tr '\n' ' ')"

install: $(READY) ## make .venv and install the pinned dependencies

$(READY): setup.py constraints.txt
	@test -n "$(PYTHON)" || { echo "Python 3.11 is needed; install it or give PYTHON=<path>." >&2; exit 2; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "$(PYTHON) is older than Python 3.11; give PYTHON=<path>." >&2; exit 2; }
	test -x $(PY) || $(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet --upgrade "pip>=24" "setuptools>=77,<82"
	$(PY) -m pip install --quiet --constraint constraints.txt torch
	DS_BUILD_OPS=0 $(PY) -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	@$(PY) scripts/check_recipe.py --all >/dev/null # notes what config classes declare, so that later checks take no imports
	@touch $@

install-flash: $(READY) ## FlashAttention that fits this GPU and PyTorch: wheels first, building last
	@$(PY) -m alignment.cli.install_flash

check: $(READY) ## check a recipe and look at its data: ARGS=--json
	@$(ALIGNMENT) check $(RECIPE) $(ARGS)

plan: $(READY) ## what a recipe needs before it runs: GPU=h100-80 NPROC=8 NNODES=1 PRICE_PER_GPU_HOUR= JSON=1
	@$(ALIGNMENT) plan $(RECIPE) $(PLAN) $(ARGS)

data: $(READY) ## download model and data of a recipe, tokenize, report
	@$(ALIGNMENT) data $(RECIPE) $(ARGS)

rehearse: $(READY) ## live through a recipe in small: ZeRO-3 on two CPU processes, kill, resume, save, push
	@$(ALIGNMENT) rehearse $(RECIPE) $(ARGS)

train: $(READY) ## train a recipe; the same command continues an interrupted run
	@$(LAUNCH) scripts/train.py --config $(RECIPE) $(ARGS)

pairs: $(READY) ## make preference pairs of a model's own answers; the same command continues; PUSH=1 publishes
	@$(WORKERS) scripts/pairs.py --config $(RECIPE) $(PUBLISHED) $(ARGS)

loop: $(READY) ## rounds of pairs, training and evaluation: RECIPE=quickstart-loop; the same command continues
	@$(PY) scripts/loop.py --config $(RECIPE) --pairs_launcher "$(WORKERS)" --train_launcher "$(LAUNCH)" $(ARGS)

generate: $(READY) ## ask the trained model: PROMPT="...", or PROMPTS=file OUTPUT=file; MODEL= COMPARE=1
	@$(ALIGNMENT) generate $(RECIPE) $(ASK) $(if $(PROMPTS),--prompts $(call quoted,PROMPTS) $(if $(OUTPUT),--output $(call quoted,OUTPUT)),--prompt $(call quoted,PROMPT)) $(if $(call yes,$(COMPARE)),--compare) $(ARGS)

chat: $(READY) ## talk with the trained model, or with MODEL=
	@$(ALIGNMENT) chat $(RECIPE) $(ASK) $(ARGS)

evaluate: $(READY) ## measure the trained model: SUITE="preferences ..." MODEL= COMPARE="base trained ..." FRESH=1
	@$(ALIGNMENT) evaluate $(RECIPE) $(EVALUATE) $(ARGS)

report: $(READY) ## write report.html, a page about a finished run
	@$(ALIGNMENT) report $(RECIPE) $(ARGS)

compare: $(READY) ## set runs side by side on one page: RUNS="recipe-or-folder recipe-or-folder ..."
	@$(ALIGNMENT) compare $(RUNS) $(ARGS)

sweep: $(READY) ## train a recipe with several settings: GRID="learning_rate=5e-7,1e-6 beta=2.0,2.5" (or GRID=simpo) PARALLEL=
	@$(ALIGNMENT) sweep $(RECIPE) --grid '$(subst ','\'',$(value GRID))' $(SWEEP) $(ARGS)

push: $(READY) ## publish a finished run: HUB_MODEL_ID= PRIVATE=1 REVISION= TAG= DRY_RUN=1
	@$(ALIGNMENT) push $(RECIPE) $(if $(HUB_MODEL_ID),--hub_model_id $(HUB_MODEL_ID)) $(WHERE) $(ARGS)

push-data: $(READY) ## publish preference pairs: HUB_DATASET_ID= PRIVATE=1 REVISION= TAG= DRY_RUN=1
	@$(ALIGNMENT) push-data $(RECIPE) $(if $(HUB_DATASET_ID),--hub_dataset_id $(HUB_DATASET_ID)) $(WHERE) $(ARGS)

bench: $(READY) ## speed and memory against the reference's method and TRL, and what ZeRO-3 costs, on CPU
	@$(PY) benchmarks/cpu.py $(ARGS) && $(PY) benchmarks/zero3_overhead.py

bench-gpu: $(READY) ## the same on one GPU with the full Gemma-2-9B geometry
	@$(PY) benchmarks/gpu.py $(ARGS)

verify-gpu: $(READY) ## all that only a GPU can show, in nine minutes; again: goes on where it stopped
	@$(PY) benchmarks/verify_gpu.py $(ARGS)

test: $(READY) ## run the tests
	@$(PY) -m pytest -n 2 --dist loadfile $(ARGS)

test-cuda-build: $(CUDA)/.ready ## device discipline and GPU kernels with a CUDA build of PyTorch, without a GPU
	@PYTHONPATH=src $(CUDA)/bin/python -m pytest tests/cuda_build $(ARGS)

# Three equals signs: the CUDA wheel of the registry, where two would be satisfied by a CPU wheel.
$(CUDA)/.ready: constraints.txt
	test -x $(CUDA)/bin/python || $(PYTHON) -m venv $(CUDA)
	$(CUDA)/bin/python -m pip install --quiet "torch===$(shell sed -n 's/^torch==//p' constraints.txt)"
	$(CUDA)/bin/python -m pip install --quiet --constraint constraints.txt $(CUDA_NEEDS)
	@touch $@

quality: $(READY) ## lint, format, types, and imports that run one way
	@$(PY) -m ruff check . && $(PY) -m ruff format --check . && $(PY) -m mypy && $(VENV)/bin/lint-imports --no-cache

style: $(READY) ## mend what lint and format can mend
	@$(PY) -m ruff check --fix . && $(PY) -m ruff format .

.PHONY: docs export
export: $(READY) ## a finished run for other programs: FORMAT=safetensors|merged|gguf OUTPUT= LLAMA_CPP= PRECISION=bf16
	@$(ALIGNMENT) export $(RECIPE) $(if $(FORMAT),--format $(FORMAT)) $(if $(OUTPUT),--output $(call quoted,OUTPUT)) $(if $(LLAMA_CPP),--llama_cpp $(call quoted,LLAMA_CPP)) $(if $(PRECISION),--precision $(PRECISION)) $(ARGS)

docs: $(READY) ## build the documentation into site/; a link that leads nowhere ends it
	@$(PY) docs/plots/simpo.py && $(PY) docs/plots/mask.py && NO_MKDOCS_2_WARNING=1 $(PY) -m mkdocs build --strict --quiet

clean: ## remove .venv and caches; trained models stay
	rm -rf $(VENV) $(CUDA) .pytest_cache .ruff_cache .mypy_cache build site
