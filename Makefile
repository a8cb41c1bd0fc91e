# The course from a fresh machine: Python 3.11 or newer and make (GNU 3.81 or newer) are all it needs.

PY := .venv/bin/python
INSTALLED := .venv/.installed
# A photograph of a camera is larger than the 10 MB that Jupyter takes from the page unless told otherwise; 2^29 bytes.
UPLOADS := tornado_settings='{"websocket_max_message_size": 536870912}'
# STUDENT=0 and UNDO=no ask for nothing.
asked = $(filter-out 0 no,$(1))
NBVAL := --nbval --nbval-current-env --nbval-cell-timeout 300 --nbval-sanitize-with tests/nbval_sanitize.cfg

.DEFAULT_GOAL := help
.PHONY: help install run lab app test test-browser test-colab check notebooks constraints badges student bundle clean

help: ## show these lines
	@echo "make <target>; another Python than python3: make run PYTHON=python3.12"
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' Makefile

install: $(INSTALLED) ## make .venv with everything the course and its tests need

# pyproject.toml and constraints.txt decide what is installed; nothing else makes this run again.
$(INSTALLED): pyproject.toml constraints.txt tools/install.sh
	@PYTHON="$(PYTHON)" sh tools/install.sh
	@touch $(INSTALLED)

# An extra of pyproject.toml, once: the app must start without a network, too.
.venv/.with-%: $(INSTALLED)
	@sh tools/install.sh $*
	@touch $@

run: $(INSTALLED) ## run every notebook and print the course to build/course/index.html
	@$(PY) data_scripts/make_sample_data.py
	@$(PY) tools/run_course.py

lab: $(INSTALLED) ## open notebook 00 in JupyterLab
	@$(PY) -m jupyter lab --ServerApp.$(UPLOADS) --ServerApp.root_dir="$(CURDIR)" notebooks/00_*.ipynb

app: .venv/.with-app ## open the mask explorer alone, without code, by Voila
	@$(PY) -m voila --Voila.$(UPLOADS) tools/app.ipynb

test: check ## lint, types, unit tests, every notebook against its stored outputs
	$(PY) -m pytest tests
	DIRL_PROFILE=quick $(PY) -m pytest $(NBVAL) notebooks

test-browser: .venv/.with-browser .venv/.with-app ## run notebooks and the app in headless Chromium; pictures go to build/browser
	@sh tools/install_browser.sh
	$(PY) -m pytest -m browser tests/browser

test-colab: $(INSTALLED) ## run all notebooks with the versions that Colab ships (some minutes and 5 GB for the first time)
	$(PY) tools/rehearse_colab.py

check: $(INSTALLED) ## lint and types only
	$(PY) -m ruff check
	$(PY) -m ruff format --check
	$(PY) -m mypy

notebooks: $(INSTALLED) ## run every notebook and store its outputs and time in notebooks/
	@$(PY) tools/run_course.py --write

constraints: $(INSTALLED) ## resolve the newest versions of everything into constraints.txt
	@$(PY) -m uv pip compile --quiet --upgrade --universal --no-annotate --no-header --strip-extras \
	  --extra dev pyproject.toml -o constraints.txt

badges: $(INSTALLED) ## let the notebooks open in Colab: REPO=owner/name BRANCH=main; UNDO=1 takes it back
	@$(PY) tools/badges.py $(if $(call asked,$(UNDO)),--undo,"$(REPO)" "$(BRANCH)")

student: $(INSTALLED) ## copies of the notebooks without solutions: build/student
	@$(PY) tools/student.py

bundle: $(INSTALLED) ## the course as one zip for a room without network: build/dirl-course.zip; STUDENT=1: -student.zip, without solutions
	@$(PY) tools/bundle.py $(if $(call asked,$(STUDENT)),--student)

clean: ## remove pages and caches; .venv and data stay
	rm -rf build .pytest_cache .ruff_cache notebooks/.ruff_cache .mypy_cache .hypothesis
	find dirl_lib tests tools data_scripts notebooks \( -name __pycache__ -o -name .ipynb_checkpoints \) -prune -exec rm -rf {} +
