# Set-up and the two commands of the README. Everything lives in $(VENV); delete that folder to start afresh.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin

DEMO_INPUT  ?= docs/demo/input.jpg
DEMO_OUTPUT ?= outputs/demo.png

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup demo test docs wheel clean

help: ## Show this list.
	@echo 'Usage: make TARGET'
	@sed -n -E 's/^([a-z]+):.*## (.*)/  \1: \2/p' $(firstword $(MAKEFILE_LIST))

setup: $(VENV)/.dp-ir-core ## Make the virtual environment and install the core of dp-ir into it.

demo: $(VENV)/.dp-ir-core ## Restore the photo that ships with the repository, four times larger.
	@$(BIN)/dp-ir restore $(DEMO_INPUT) --out $(DEMO_OUTPUT) --overwrite
	@echo 'Input:  $(abspath $(DEMO_INPUT))'
	@echo 'Result: $(abspath $(DEMO_OUTPUT))'

test: $(VENV)/.dp-ir-dev ## Run lint, types, the check of the import order, and all tests.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	OMP_NUM_THREADS=1 $(BIN)/pytest -n auto --maxprocesses 4 --dist loadfile # tiny networks are quickest on one thread
	@command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null \
		|| echo 'The page was not tried in a browser, for want of one: install the package chromium.'

docs: $(VENV)/.dp-ir-dev ## Build the documentation as a site, in build/site.
	$(BIN)/python tools/make_site.py
	@echo 'Open:   $(abspath build/site/index.html)'

# The packages that the wheel needs are those of $(VENV): the .pth names their folder, where the checkout's own is no package.
TRIAL := build/wheel
wheel: $(VENV)/.dp-ir-dev ## Build the wheel, install it into a fresh environment, and restore a photo elsewhere.
	@rm -rf $(TRIAL)
	$(BIN)/python -m hatchling build --target wheel --directory $(TRIAL)
	@$(BIN)/python -m venv $(TRIAL)/venv
	@$(TRIAL)/venv/bin/python -m pip install --quiet --disable-pip-version-check --no-index --no-deps $(TRIAL)/*.whl
	@$(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))' \
		> "$$($(TRIAL)/venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/needed.pth"
	@elsewhere=$$(mktemp -d) && trap 'rm -rf "$$elsewhere"' EXIT && cp $(DEMO_INPUT) "$$elsewhere/photo.jpg" \
		&& trial=$(abspath $(TRIAL))/venv && cd "$$elsewhere" \
		&& "$$trial/bin/python" -c 'import dp_ir, sys; assert dp_ir.__file__.startswith(sys.prefix), dp_ir.__file__' \
		&& "$$trial/bin/dp-ir" restore photo.jpg --out restored.png && test -s restored.png
	@rm -rf $(TRIAL)/venv && echo 'The wheel is whole: $(abspath $(TRIAL))'

clean: ## Remove caches and generated outputs; the virtual environment and trained runs stay.
	rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist outputs
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +

# The interpreter is made once, and made anew when it does not start any more (a moved folder, an upgraded Python).
define make_venv
@$(BIN)/python -c '' 2>/dev/null || { \
	$(PYTHON) -c 'import sys; sys.exit("dp-ir needs Python 3.10 or newer; name one: make PYTHON=python3.12" if sys.version_info < (3, 10) else 0)' \
	&& echo 'Making the virtual environment $(VENV) ...' \
	&& $(PYTHON) -m venv --clear $(VENV) && $(PYTHON) tools/keep_torch.py $(VENV); }
endef

# A PyTorch that is kept counts as the one that is known to work, and decides about torchvision.
define install
@echo 'Installing $(1) into $(VENV) (a minute or two the first time) ...'
@if [ -f $(VENV)/torch.txt ]; then grep -v -E '^torch(vision)?==' constraints.txt | cat - $(VENV)/torch.txt; \
	else cat constraints.txt; fi > $(VENV)/constraints.txt
@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c $(VENV)/constraints.txt -e '$(1)'
endef

# Stamps: set-up runs again when the dependencies or their versions change.
$(VENV)/.dp-ir-core: pyproject.toml constraints.txt
	$(make_venv)
	$(call install,.)
	@touch $@

$(VENV)/.dp-ir-dev: pyproject.toml constraints.txt
	$(make_venv)
	$(call install,.[dev])
	@touch $(VENV)/.dp-ir-core $@
