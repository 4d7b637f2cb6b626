# Two commands for newcomers: `make demo` and `make test`. Everything they need is installed on the way.

PYTHON := .venv/bin/python
JOBS ?= 2

.PHONY: demo test lint bench soak screenshots clean

demo:
	@tools/bootstrap
	@.venv/bin/pfms-ha-tui demo $(ARGS)

test:
	@tools/bootstrap test
	@$(MAKE) --no-print-directory lint
	@$(PYTHON) -m pytest -n $(JOBS) --dist loadfile $(ARGS)

lint:
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy

bench:
	@tools/bootstrap bench
	@$(PYTHON) -m pytest -m bench -s tests/benchmarks $(ARGS)

# Every fault TIMES times, and the long ones (worker killed in any step, ten minutes of short faults) once.
TIMES ?= 20
soak:
	@tools/bootstrap test
	@$(PYTHON) -m pytest -m "not bench" --repeat $(TIMES) tests/faults $(ARGS)

screenshots:
	@tools/bootstrap test
	@$(PYTHON) tools/screenshots.py

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist
