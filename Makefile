# Two commands do everything: `make sim` shows the zone, `make test` passes all tests.
.DEFAULT_GOAL := help
PY := .venv/bin/python
# Tests wait on timers and processes more than they compute: twice the cores keeps two cores busy.
WORKERS ?= 4

.PHONY: help setup sim test lint soak bench mutants fuzz audit firmware lock wheel clean

help: ## This list
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/make \1\t\2/p' Makefile | expand -t 14

setup: ## Builds .venv and all that the others need
	@.ci/setup

sim: setup ## The whole Betong site, live, in this terminal
	@.venv/bin/safezone sim

lint: setup ## ruff and mypy
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy agent sim tests
	.venv/bin/mypy --config-file firmware/mypy.ini

test: lint ## ruff, mypy, pytest
	@# What fails beside others runs once more alone, and says so: tests with real processes share two cores here.
	@cache=.venv/cache/pytest-$$$$; \
	$(PY) -m pytest -q -n $(WORKERS) --dist loadgroup -o cache_dir=$$cache || { \
	  echo "make test: failed beside others; once more, alone:"; \
	  $(PY) -m pytest -q --last-failed --last-failed-no-failures none -o cache_dir=$$cache; }

# 100 seeds of an hour are some 100,000 presses, a tenth of the campaign that FIGURES.md tells of.
SEEDS ?= 0:100
BUG_SEEDS ?= 0:200
soak: setup ## A long campaign on virtual time, then the hunt for every planted bug
	.venv/bin/safezone soak --seeds $(SEEDS) --hours 1
	@for bug in $$(.venv/bin/safezone soak --list-bugs); do \
	  .venv/bin/safezone soak --seeds $(BUG_SEEDS) --hours 0.5 --bug $$bug >.venv/cache/hunt 2>&1; \
	  [ $$? = 1 ] && grep -q '^seed ' .venv/cache/hunt || { echo "$$bug: not found"; tail -3 .venv/cache/hunt; exit 1; }; \
	  echo "$$bug: $$(grep -m1 '^seed ' .venv/cache/hunt)"; \
	done

bench: setup ## The figures, each beside its floor
	.venv/bin/safezone bench

fuzz: setup ## Every reader, guided by coverage: RUNS= inputs a target or SECONDS= each; TARGET=, SEED= (tests/fuzz/FUZZ.md)
	@$(PY) -c 'import atheris' 2>/dev/null || $(PY) -m pip --disable-pip-version-check -q install --no-deps -r .ci/fuzz.lock
	nice -n 19 $(PY) -m tests.fuzz.run $(TARGET) $(if $(RUNS),--runs $(RUNS)) $(if $(SECONDS),--seconds $(SECONDS)) --seed $(or $(SEED),1)

audit: setup ## The pinned packages beside the list of known faults (needs a network)
	@$(PY) .ci/audit.py

# With SAMPLE=600 [SEED=1] so many of them, with ONLY=firmware/sos_wire/frame.py those of a file or folder; WRITE=1 brings
# tests/MUTANTS.md up to date. mutmut brings much with it, so it is installed here and not by setup.
mutants: setup ## Changes the wire and the cores a little, thousands of times: do the tests notice?
	@$(PY) -m pip --disable-pip-version-check -q install -r .ci/mutants.lock
	@nice -n 19 $(PY) .ci/mutants.py $(if $(ONLY),--only $(ONLY)) $(if $(SAMPLE),--sample $(SAMPLE)) \
	  $(if $(SEED),--seed $(SEED)) $(if $(WRITE),--write)

firmware: setup ## What to copy onto a pole's board, in .venv/firmware
	@$(PY) -m sos_sim.live.firmware .venv/firmware

lock: setup ## Pins the newest versions that pyproject.toml allows
	$(PY) .ci/lock.py

wheel: setup ## A wheel with firmware, sites and shim in dist/
	$(PY) -m build --no-isolation --wheel --outdir .venv/dist

clean: ## Removes .venv with all caches
	rm -rf .venv
