# Two commands do everything on a fresh clone: `make demo` and `make test`.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
RUNS ?= runs

.PHONY: help install demo test test-slow test-avx2 test-gpu check format map docs bench clean

help: ## what there is
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):.*## (.*)/make \1\t\2/' | expand -t 18

$(BIN)/python:
	$(PYTHON) -m venv .venv

.venv/.base: $(BIN)/python pyproject.toml constraints.txt
	$(PIP) install --quiet -c constraints.txt -e .
	@touch $@

.venv/.dev: .venv/.base
	$(PIP) install --quiet -c constraints.txt -e '.[dev]'
	@touch $@

install: .venv/.dev ## only the virtual environment in .venv, with everything for development

demo: .venv/.base ## fit a topic model on real text with the embedded model and write a report
	$(BIN)/moee-topics run quickstart --output $(RUNS)

# Two processes of one thread: models of a few thousand parameters gain nothing by two threads, which beside another
# process wait for each other. A file stays in one process, whose tests share their models.
test: .venv/.dev ## run the tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 --dist loadfile

test-slow: .venv/.dev ## run the tests that take minutes
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 --dist loadfile -m slow

# As on a processor without AVX-512 and bf16, whatever this one has. Three libraries have a switch each: oneDNN, torch's own
# kernels, and MKL, which multiplies float32. Of the runs, those files that encode and compare what was encoded at
# different times; the others begin with what one process has stored, which no kernel can change.
ENCODING_RUNS := $(addprefix tests/run/test_,embed_stage.py predictor.py stages.py updates.py)
test-avx2: .venv/.dev ## run what computes as a processor with AVX2 alone would
	OMP_NUM_THREADS=1 ONEDNN_MAX_CPU_ISA=AVX2 ATEN_CPU_CAPABILITY=avx2 MKL_ENABLE_INSTRUCTIONS=AVX2 \
	  $(BIN)/python -m pytest -q -n 2 --dist loadfile tests/encode tests/test_embed.py $(ENCODING_RUNS)

test-gpu: .venv/.dev ## run what is about a GPU, on a machine that has one
	MOEE_TOPICS_TEST_GPU=1 $(BIN)/python -m pytest -q -m 'slow or not slow' tests/encode/test_gpu.py tests/encode/kernels/test_triton_kernels.py

check: .venv/.dev ## format, lint and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: .venv/.dev ## put format and imports right
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

map: .venv/.dev ## draw the rooms of docs/house.svg from the imports
	$(BIN)/python tests/house_map.py

docs: .venv/.base ## build the docs site into site/; a link that leads nowhere ends it
	$(PIP) install --quiet -c constraints.txt -e '.[docs]'
	$(BIN)/python docs/recipe_keys.py
	$(BIN)/zensical build --strict --clean
	$(BIN)/moee-topics report --quiet site/gallery/packages
	$(BIN)/moee-topics report --quiet site/gallery/growing
	$(BIN)/moee-topics diff site/gallery/growing v1 v3 --output site/gallery/growing/changes.html > /dev/null

# gcc 12 drops what llama.cpp's AMX kernels write into their tiles' configuration unless dead stores stay. Sixteen layers of
# all 64 experts take more memory than most machines have, with 18 a token goes through as much.
WHOLE_MODEL := reference,sentence-transformers,llama.cpp Q8_0,fp32,bf16,w8a8
bench: .venv/.base ## speed and memory beside plain baselines, into benchmarks/results
	CXXFLAGS='-fno-dse -fno-tree-dse' $(PIP) install --quiet -c constraints.txt -e '.[bench]'
	$(BIN)/python -m benchmarks.bench
	$(BIN)/python -m benchmarks.bench --layers 16 --experts 18 --documents 4 --words 0 --variants '$(WHOLE_MODEL)'

clean: ## remove the environment and caches
	rm -rf .venv build dist site .cache *.egg-info .mypy_cache .ruff_cache .pytest_cache
