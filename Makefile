# Every target sets up what it needs by itself, through scripts/setup.sh; see docs/building.md.
SHELL := /bin/bash
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

# What makes bridges and starts guests runs as root; sudo passes neither PATH nor the environment on.
AS_ROOT := $(shell [ "$$(id -u)" = 0 ] || echo 'sudo -E env "PATH=$$PATH"')
DRIVER ?= embedded

##  make demo [DRIVER=daemon]   launch instances and show each step, from a bare machine
.PHONY: demo
demo:
	@scripts/setup.sh demo
	@$(AS_ROOT) node scripts/demo.mjs --driver $(DRIVER)

##  make test [STAGE=name]      all checks and tests; ends with "N passed, N failed, N skipped"
.PHONY: test
test:
	@scripts/setup.sh test
	@node scripts/test.mjs $(foreach stage,$(STAGE),--only $(stage))

##  make bench | bench-all      benchmarks: the quick set, or every scenario with more rounds
.PHONY: bench bench-all
bench:
	@scripts/setup.sh demo
	@$(AS_ROOT) node benchmarks/run.mjs
bench-all:
	@scripts/setup.sh peers
	@$(AS_ROOT) node benchmarks/run.mjs --all

##  make bench-check [BASE=ref|dir]   this build against another, side by side; fails where it is slower beyond the noise
.PHONY: bench-check
bench-check:
	@scripts/setup.sh demo
	@$(AS_ROOT) node benchmarks/check.mjs $(if $(BASE),--base $(BASE))

##  make test-openstack         the agent on a real OpenStack control plane, where the rig's scripts are (OPENSTACK_RIG_SCRIPTS)
.PHONY: test-openstack
test-openstack:
	@scripts/setup.sh test
	@node scripts/test-openstack.mjs

##  make unit | asan | tsan     the C++ unit tests: plain, under ASan and UBSan, under TSan
.PHONY: unit asan tsan
unit:
	@scripts/setup.sh tools
	@node scripts/test.mjs --only native
asan:
	@scripts/setup.sh tools
	@node scripts/test.mjs --only native-asan
tsan:
	@scripts/setup.sh tools
	@node scripts/test.mjs --only native-tsan

##  make fuzz [FUZZ_SECONDS=n]  each fuzz target for so many seconds (5)
.PHONY: fuzz
fuzz:
	@scripts/setup.sh tools
	@node scripts/test.mjs --only fuzz

##  make lint | format          check, or correct, layout and lint rules of TypeScript and C++
.PHONY: lint format
lint:
	@scripts/setup.sh tools
	@npm run --silent lint
format:
	@scripts/setup.sh tools
	@npm run --silent format

##  make tidy                   clang-tidy over the C++ sources (slow)
.PHONY: tidy
tidy:
	@scripts/setup.sh tools
	@command -v run-clang-tidy >/dev/null || { echo 'clang-tidy is not installed (Debian: clang-tidy)'; exit 1; }
	@cmake --preset unit >/dev/null
	@cmake --build build/cmake-unit --target tidy

##  make build                  the addon, dist/ and the guest image, nothing run
.PHONY: build
build:
	@scripts/setup.sh demo

##  make clean                  remove what was built, except downloaded packages
.PHONY: clean
clean:
	rm -rf dist prebuilds coverage build/Release build/*.mk build/Makefile build/config.gypi build/binding.Makefile \
	  build/cmake-* build/test-logs build/fuzz build/*.stamp

.PHONY: help
help:
	@sed -n 's/^##//p' $(MAKEFILE_LIST)
