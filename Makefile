# Every target sets up what it needs. PYTHON chooses the interpreter (3.11 or newer); PIP_ARGS goes to pip,
# for instance PIP_ARGS="--extra-index-url …" for another build of torch (README.md, "CPU or CUDA").
PYTHON ?= python3
PIP_ARGS ?=
VENV ?= .venv
PY := $(VENV)/bin/python

.PHONY: app demo test check bench soak map screenshots setup setup-dev clean

app: setup ## set everything up and open the app
	$(PY) -m core models starter
	$(PY) -m streamlit run launch.py

demo: setup ## the main job, headless: people.csv to a knowledge graph under out/demo
	$(PY) -m core models starter
	$(PY) -m core extract run --input assets/samples/people.csv --text-column sentence --id-column id \
		--task ner re --schema people-and-organisations-en --out out/demo
	$(PY) -m core graph build --run out/demo --out out/demo
	$(PY) -m core models unload

# Two at once, but for what drives a browser or is killed at a moment: that wants the machine for itself.
test: check ## every kind of test at small counts
	$(PY) -m pytest -m "not e2e and not alone" -n 2 --dist loadfile $(PYTEST_ARGS)
	$(PY) -m pytest -m "e2e or alone" $(PYTEST_ARGS)

check: setup-dev ## lint, types, import contracts
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy
	$(VENV)/bin/lint-imports

soak: setup-dev ## the full counts that the issues name: hours (Ray is tried where requirements-train.txt is installed)
	$(PY) -m pytest -m soak $(PYTEST_ARGS)

bench: setup-dev ## every figure of docs/benchmarks.md, one JSON line each
	$(PY) -m core models starter
	for script in benchmarks/[a-z]*.py; do name=$$(basename $$script .py); echo "# $$name" && $(PY) -m benchmarks.$$name || exit 1; done

map: setup-dev ## docs/map.md, from the files' own first lines
	$(PY) docs/make_map.py

screenshots: setup-dev ## docs/screenshots, made from the real app
	$(PY) -m tests.e2e.screenshots

setup: $(VENV)/.installed
setup-dev: $(VENV)/.installed-dev

$(PY):
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed; this is " + sys.version.split()[0]) if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: requirements.txt | $(PY)
	$(PY) -m pip install --quiet $(PIP_ARGS) -r requirements.txt
	touch $@

$(VENV)/.installed-dev: requirements.txt requirements-dev.txt | $(PY)
	$(PY) -m pip install --quiet $(PIP_ARGS) -r requirements-dev.txt
	touch $@ $(VENV)/.installed

clean:
	rm -rf $(VENV) out build .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .test-workspace
