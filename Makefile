# Everything is done by tools/dev.py, which works without make too: `python tools/dev.py COMMAND ARGS`; here `make COMMAND ARGS="..."`.
PYTHON ?= python3
ARGS =
DEV = $(PYTHON) tools/dev.py

.PHONY: help quick test test-all demo bench lint fix clean

help:
	@echo "make demo      train a small model for two minutes and let it write"
	@echo "make quick     format, lint, types and the fast tests"
	@echo "make test      everything that a change must pass"
	@echo "make test-all  the same and the checks that take minutes"
	@echo "make bench     the benchmarks"
	@echo "make lint      format, lint and types"
	@echo "make fix       format the code and mend what can be mended"
	@echo "make clean     remove what was built (not .venv, not models/)"

quick test test-all demo bench lint fix:
	@$(DEV) $@ $(ARGS)

clean:
	rm -rf build dist src/*.egg-info .coverage .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name .venv -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +
