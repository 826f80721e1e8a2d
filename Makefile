# SPDX-License-Identifier: GPL-3.0-or-later
# Each target sets itself up on a bare Debian machine with Python 3.11, as root. Everything goes to .build/.

.PHONY: demo test lint bench machine setup clean

demo: setup
	@tests/demo.sh

test: setup
	@tests/lint.sh
	@.build/venv/bin/python -m pytest tests/unit tests/invariants tests/integration -q -n 2 --dist loadfile --durations=10
	@tests/demo.sh

lint: setup
	@tests/lint.sh

bench: setup
	@tests/bench/run.sh

machine: setup
	@.build/venv/bin/python tests/machine

setup:
	@tests/setup.sh

clean:
	rm -rf .build
