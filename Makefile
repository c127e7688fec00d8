# Copyright (c) 2026 The vfmig authors
# SPDX-License-Identifier: BSD-3-Clause
#
# The short way: each target installs the Debian packages that it lacks, sets
# Meson up, builds and runs.  Who packages vfmig uses Meson alone.

PREFIX ?= /usr/local
DESTDIR ?=
BUILD ?= build
WERROR ?= true
FUZZ_SECONDS ?= 60
SOAK_ROUNDS ?= 1000
FAULTS_MOST ?= 0
FULL ?=
ROUNDS ?= 20
MINUTES ?= 15
QUICK ?=
JOBS ?= $(shell nproc)
# Half of a test is waiting for another program.
TEST_JOBS ?= $(shell expr 2 \* $(JOBS))

# Undefined symbols of the shared library are the sanitizer's.
SANITIZE = -Db_sanitize=address,undefined -Db_lundef=false \
           '-Dc_args=-fsanitize=float-cast-overflow -fno-sanitize-recover=all'

export ASAN_OPTIONS ?= detect_leaks=1:detect_stack_use_after_return=1
export UBSAN_OPTIONS ?= print_stacktrace=1
export FUZZ_SECONDS JOBS

# $(call setup,FOLDER,COMPILER,OPTIONS): works on a folder of any age.
setup = if [ -e $(1)/build.ninja ]; then \
            $(if $(strip $(3)),meson configure $(1) $(3),true); \
        else CC=$(2) meson setup $(1) -Dwerror=$(WERROR) $(3); fi
test = meson test -C $(1) --print-errorlogs --num-processes $(TEST_JOBS)

.DEFAULT_GOAL := help
.PHONY: help all demo soak check sanitize tsan clang fuzz faults lint lab lab-shell bench \
        format install clean packages-build packages-check packages-lint \
        packages-lab packages-bench fuzz-nightly model packages-model interop mutants

help:
	@echo 'make demo       a VM of 1 GiB with two busy devices moves, live'
	@echo 'make check      build with gcc and run every test'
	@echo 'make sanitize   the same with ASan, UBSan and LeakSanitizer'
	@echo 'make tsan       what has threads, with ThreadSanitizer'
	@echo 'make clang      build with clang and run the unit tests'
	@echo 'make fuzz       each fuzz target for FUZZ_SECONDS ($(FUZZ_SECONDS))'
	@echo 'make faults     every call that can fail fails once'
	@echo 'make fuzz-nightly  each for ten minutes'
	@echo 'make model      every state of the handover, looked at by spin'
	@echo 'make lint       format, layers, sizes, symbols, clang-tidy, cppcheck'
	@echo 'make lab        the same programs on the VFIO devices of a real kernel'
	@echo 'make lab-shell  a prompt in a guest that has such devices'
	@echo 'make interop    the real QEMU: on emulated devices, and at the other end'
	@echo 'make mutants    what vfmig check finds of bugs planted in a device'
	@echo 'make soak       a thousand migrations, with cancels and kills'
	@echo 'make bench      against plain loops and QEMU: docs/performance.md; QUICK=1'
	@echo 'make all        build only'
	@echo 'make format     let clang-format rewrite the sources'
	@echo 'make install    to DESTDIR ($(DESTDIR)) PREFIX ($(PREFIX))'
	@echo 'make clean      remove what these built'

packages-build:
	@scripts/packages install build

packages-check packages-lint packages-lab packages-model packages-bench: packages-%:
	@scripts/packages install build $*

# A machine that only builds has no cmocka: the tests are left as they are.
all: packages-build
	@[ -e $(BUILD)/build.ninja ] || $(call setup,$(BUILD),gcc,-Dtests=false)
	ninja -C $(BUILD) -j $(JOBS)

demo: all
	scripts/demo $(BUILD)

soak: all
	VFMIG_BUILD=$(abspath $(BUILD)) /usr/bin/python3 \
	    tests/integration/soak.py --rounds $(SOAK_ROUNDS)

# FULL=1: every check on every mutant, not only those that are to find it.
mutants: all
	scripts/mutants $(BUILD) --jobs $(JOBS) $(if $(FULL),--full)

# A build of its own: what is measured is what people install.  QUICK=1: small.
# ROUNDS: of the cases, unless MINUTES are over before.
bench: packages-build packages-bench packages-lab
	$(call setup,$(BUILD)-bench,gcc,--buildtype=release -Dtests=false)
	ninja -C $(BUILD)-bench -j $(JOBS)
	scripts/bench $(BUILD)-bench $(if $(QUICK),--quick,--page \
	    --rounds $(ROUNDS) --minutes $(MINUTES))
	$(if $(QUICK),,scripts/bench-memory $(BUILD)-bench)

check: packages-check
	$(call setup,$(BUILD),gcc,-Dtests=true -Dman=enabled)
	ninja -C $(BUILD) -j $(JOBS)
	$(call test,$(BUILD))

# FULL=1: every row of the integration tests, not every sixth.
sanitize tsan: export VFMIG_FULL = $(FULL)
sanitize: packages-check
	$(call setup,$(BUILD)-sanitize,gcc,$(SANITIZE))
	ninja -C $(BUILD)-sanitize -j $(JOBS)
	$(call test,$(BUILD)-sanitize) --timeout-multiplier 4 --num-processes $(JOBS)

# What has threads, or is called by more than one: TSan and ASan exclude each
# other.
tsan: packages-check
	$(call setup,$(BUILD)-tsan,gcc,-Db_sanitize=thread -Db_lundef=false)
	ninja -C $(BUILD)-tsan -j $(JOBS)
	$(call test,$(BUILD)-tsan) --timeout-multiplier 4 --num-processes $(JOBS) \
	    bridge bridge-device bridge-link channel-listener dirty-kvm-ring \
	    example-vmm

clang: packages-check packages-lint
	$(call setup,$(BUILD)-clang,clang,)
	ninja -C $(BUILD)-clang -j $(JOBS)
	$(call test,$(BUILD)-clang) --suite unit

# libFuzzer needs clang; tests/fuzz says how its targets are instrumented.
fuzz: packages-check packages-lint
	$(call setup,$(BUILD)-fuzz,clang,-Dfuzz=true)
	scripts/fuzz $(BUILD)-fuzz

# FAULTS_MOST=0: all calls of a function in a scenario, not some of them.
faults: packages-check
	$(call setup,$(BUILD),gcc,-Dtests=true)
	ninja -C $(BUILD) -j $(JOBS)
	VFMIG_BUILD=$(abspath $(BUILD)) /usr/bin/python3 \
	    tests/faults/matrix.py --quiet --jobs $(JOBS) --most $(FAULTS_MOST)

fuzz-nightly:
	$(MAKE) fuzz FUZZ_SECONDS=600

# Needs no build: the model stands beside the code.
model: packages-model
	scripts/model

# The checks need what the compiler was told (clang's folder) and the library.
lint: packages-check packages-lint
	$(call setup,$(BUILD)-clang,clang,)
	ninja -C $(BUILD)-clang -j $(JOBS)
	scripts/lint $(BUILD)-clang

# The guests run what was built for this machine.
lab lab-shell: packages-check packages-lab
	$(call setup,$(BUILD),gcc,-Dtests=true)
	ninja -C $(BUILD) -j $(JOBS)
	tests/lab/lab $(BUILD) $(if $(filter lab,$@),run,shell)

# An unmodified QEMU, no privileges, no module: the matrix is printed at the end.
interop: packages-check packages-lab
	$(call setup,$(BUILD),gcc,-Dtests=true)
	ninja -C $(BUILD) -j $(JOBS)
	VFMIG_BUILD=$(abspath $(BUILD)) /usr/bin/python3 -m pytest -q \
	    -p no:cacheprovider tests/interop

format: packages-lint
	scripts/sources c | xargs clang-format -i

install: all
	meson configure $(BUILD) -Dprefix=$(PREFIX)
	DESTDIR=$(DESTDIR) meson install -C $(BUILD)

clean:
	rm -rf $(BUILD) $(BUILD)-bench $(BUILD)-sanitize $(BUILD)-tsan $(BUILD)-clang $(BUILD)-fuzz $(BUILD)-ci
