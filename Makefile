# Two commands matter: `make run` and `make test`. Both set up what they need.
# The scripts in qemu-scripts/ do the work and know the defaults; this file says what
# depends on what. `make` alone prints the targets and the variables.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
# cargo uses all CPUs by itself; only the C programs are compiled side by side.
ifndef C_PROGRAMS_ALONE
.NOTPARALLEL:
endif
SHELL := /bin/bash

define HELP

  make run                boot the kernel: the demonstration, or a program of yours; on a
                          terminal a monitor follows (its command help lists its commands)
  make compare            run the demonstration, or a program of yours (INITRD=, INIT=), under
                          each policy, and print the reports side by side
  make test               run every test; the last line counts them
  make gdb                boot stopped, with gdb-multiarch and the commands lazy-*
                          (docs/debugging.md); TEST= starts at that in-kernel test,
                          STOP_AT= (with ICOUNT=0) at that line of the trace of make trace
  make replay             a run on one CPU, recorded, and the debugger on it, which also goes
                          backwards (INIT=, TEST= …; QEMU 8 and later)
  make attach             the debugger on the machine that make run has started elsewhere
  make dump               that machine's memory and registers, hung or not, as build/dump.elf
                          (DUMP=another file)
  make post-mortem        the debugger on the dump (DUMP=)
  make nmi                makes that machine report each CPU, and stop

  make test-host          unit tests on this machine (TEST= a part of their names, as for loom,
                          riscv64, crashes and programs)
  make test-loom          the protocol under the model checker
  make prove              the whole protocol in one Spin model, all states, and its mutants
                          (LAZY=: one policy alone, without the mutants)
  make test-mutants       the protocol broken on purpose: a test must fail for each error
                          (MUTANT= parts of their names)
  make mutants            these errors, and kernels broken on purpose that QEMU boots
                          (MUTANT= a part of their names)
  make mutants-drawn      N=20 errors drawn by rule from the whole product (SEED=, WHERE= a
                          folder, MUTANT= one of them, AGAIN=survived, JOBS=2 side by side)
  make test-riscv64       the protocol's unit tests on another architecture
  make test-kernel        tests inside the kernel, on 1, 2, 4 and 8 CPUs under each policy;
                          SMP=, LAZY=, IRQ= and TEST= (a part of the tests' names) choose some
  make test-sequences     10,000 sequences of steps on a few pages, drawn at random and
                          compared with a model of Linux (SEED=, SEQUENCE=, SEQUENCES=, SMP=,
                          LAZY=)
  make test-crashes       ways to break the kernel, and the report of each
  make test-programs      C programs, compared with their output under qemu-ppc64
  make test-bad-input     broken programs, archives, options and variables: each one must end
                          with a clear sentence (TEST= a part of the cases' names)
  make test-fuzz          the parsers under random damage (FUZZ_SECONDS= per parser,
                          FUZZ_SEED=)
  make test-monitor       the monitor on a terminal, in tmux
  make test-gdb           the debugger's commands against live kernels
  make test-instructions  the instructions of the images, as make instructions checks them
  make test-starts        a few rows of the matrix
  make test-soak          the soak below, two seconds for each policy
  make test-headline      the model of the caches: sums worked out by hand, and one line handed
                          over 4,000 times; and the count of a loop's instructions
  make test-bench         bench-check
  make test-determinism   one run done twice under ICOUNT=0; the outputs must be equal
  make soak               random use of everything for MINUTES=30, under each policy, on SMP=8
                          CPUs (LAZY=: one policy; OPTIONS=: one set of kernel options; SEED=
                          and ROUND= repeat a round that was printed)
  make lint               clippy, rustfmt, and the checks from layers to guide
  make layers             the crates: none depends on one above it
  make unused             the libraries: every public item is used somewhere
  make references         the citations: each leads to something that exists; and the prose:
                          no phrase that must be read twice
  make twice              numbers, policies and variables: two places that state one agree
  make frames             the stack: no function of the kernel takes much of it
  make instructions       the images: TLB instructions and changes of context have their fences
  make guide              the documents: pictures, names, targets and counted lines are true
  make test-guide         what docs/guide tells to type, run, and its output compared; make
                          guide-check: also its pages that build kernels (PAGE= some pages)
  make doc                the guide and the documents as a book (build/book/html), and the crates'
                          documentation (target/doc; the kernel: target/powerpc64-kernel/doc)
  make fences             write the tables of barrier pairs (docs/lazy-tlb.md, docs/fences.md) from the comments
  make lines              count the lines of code and comments by part
  make figures            what each policy costs, and how long its code is
  make matrix             start every configuration, and write docs/matrix.md
  make headline           cache lines that a context switch moves, under each policy on 4 to 192
                          CPUs, and the modelled rate of switches (docs/headline.md); QUICK=1:
                          a short version; HEADLINE="--help" tells its options
  make headline-linux     the same program and model on Debian's kernels for ppc64el
  make bench              instructions, IPIs, PIDR writes and TLB invalidations of common
                          operations, under each policy on 1 to 8 CPUs (docs/bench.md); QUICK=1:
                          shootdown on 1 and 4; BENCH="--help" tells its options
  make bench-check        whether an operation needs more instructions than docs/figures says
  make bench-linux        the same operations on Debian's kernels for ppc64el
  make scale              what grows with the number of CPUs, to 192 and 1,024: exits, IPIs, fork
                          and wake-ups, memory and time to init (docs/scale.md); QUICK=1: a
                          short version
  make profile            where the instructions of a run go, by function: a list and a flame
                          graph (INIT= and the variables of run; docs/profile.md)
  make trace              run with the trace on, and write build/trace: events as text, a timeline, a
                          file for Perfetto, and what the checker says (INIT= and the variables of
                          run; TEST= an in-kernel test; TRACE= groups of events, TRACE_KB= the
                          room for each CPU's). The timeline shows the first exit that finds other
                          CPUs lazy, or AROUND=free:mm3.1, AROUND=shoot: an event; FROM= TO=: µs
  make explain            why an address space of the last trace lived as long as it did: the last
                          that was freed, or MM=mm3.1; CPU=2: what that CPU had loaded, and why
  make timelines          the same exit under each policy as pictures (docs/timelines.md)
  make measure            time and instructions to init, loaded size
  make setup              install everything that run and test would install
  make clean              remove what was built (distclean: also what was set up)

  Variables of run, gdb and test-kernel:

  SMP=4                   CPUs: 1 to 1024; 8,threads=4 for cores of four threads
  FIRMWARE=vof            or slof
  MEM=512M                memory, in steps of 256M; APPEND=mem=18M uses less of it
  CPU=power9              CPU model of QEMU: power9, power10
  LAZY=shootdown          lazy-TLB policy: eager, refcount, shootdown, hazard, evict,
                          generation, loaded, quiescent
  TLB=                    how broadcast flushes travel: tlbie, ipi (default: by QEMU's version
                          and the number of CPUs)
  IRQ=                    interrupt controller: xive, xics (default: what the machine has, xive first)
  INITRD=file             a cpio archive (newc), or a static program to run as init
  INIT="path args"        the first program and its arguments (default: the
                          demonstration, or /init of an INITRD)
  APPEND="words"          more kernel command line
  TESTS=on                run: a kernel that has the in-kernel tests, for the monitor; TEST=: it
                          runs those with that in their names
  QUICK=1                 run, gdb, replay: a kernel that is compiled in a few seconds, runs slower,
                          and has no names in its own backtraces
  TIMEOUT=120             seconds until the run is stopped, 0 for no limit; on a terminal
                          there is no limit unless TIMEOUT is given
  ICOUNT=                 0 to 10: a deterministic run, an instruction takes 2^ICOUNT ns
  QEMU=path               the QEMU to use
  QEMU_ARGS="words"       more arguments for it

  JUNIT=file              of the tests: write the results as JUnit's XML, too

  The kernel's own options, for APPEND, are listed in docs/options.md.

endef

export SMP MEM CPU FIRMWARE LAZY TLB IRQ INITRD INIT APPEND TIMEOUT ICOUNT QEMU QEMU_ARGS TEST TESTS JUNIT
export TRACE TRACE_KB FROM TO AROUND STOP_AT
export MINUTES SEED ROUND SEQUENCE SEQUENCES
export N WHERE MUTANT AGAIN JOBS

# The set-up installs missing components; rustup must not download one on its own.
export RUSTUP_AUTO_INSTALL := 0

SCRIPTS := qemu-scripts
TARGET  := powerpc64-kernel
OUT     := target/$(TARGET)/release
# The image of the tests has a folder of its own, so that both images can be built at one time.
TESTS_TARGET := target/tests
# A kernel that is compiled sooner and runs slower: of `run`, `gdb` and `replay` with QUICK=1, and of nothing that measures.
EDIT    := target/$(TARGET)/edit

# The kernel's target needs core and alloc built for it: a flag that stable cargo takes
# only with RUSTC_BOOTSTRAP. Host builds never use it. core takes the smaller of two
# algorithms, which makes the text 64 KB smaller and no path longer (docs/scale.md).
CROSS_FLAGS := -Zbuild-std=core,alloc -Zbuild-std-features=compiler-builtins-mem,optimize_for_size \
	-Zjson-target-spec --target linker/$(TARGET).json --release
CROSS_CARGO := RUSTC_BOOTSTRAP=1 cargo
CROSS_BUILD := RUSTC_BOOTSTRAP=1 $(SCRIPTS)/cargo-build

# Each file or folder in user/src/bin is a program.
USER_PROGRAMS := $(sort $(basename $(notdir $(wildcard user/src/bin/*))))
C_PROGRAMS    := $(basename $(notdir $(wildcard user/c/*.c)))
C_COMPILER    := powerpc64-linux-gnu-gcc
LINUX_COMPILER := powerpc64le-linux-gnu-gcc
C_FLAGS       := -static -O2 -g0 -Wall -Wextra -Werror -pthread

.PHONY: help
help:
	$(info $(HELP))
	@:

# --- set-up ---------------------------------------------------------------------------

.PHONY: settings setup setup-rust setup-qemu setup-cross setup-gdb setup-tmux setup-riscv64 setup-spin setup-linux setup-mdbook
setup:
	@$(SCRIPTS)/setup

# A bad variable ends make before anything is built.
settings:
	@$(SCRIPTS)/run --check

setup-rust: | settings
	@$(SCRIPTS)/setup rust-src

setup-qemu: | settings
	@$(SCRIPTS)/setup qemu

setup-cross:
	@$(SCRIPTS)/setup cross

setup-gdb:
	@$(SCRIPTS)/setup gdb

setup-tmux:
	@$(SCRIPTS)/setup tmux

setup-riscv64:
	@$(SCRIPTS)/setup riscv64

setup-spin:
	@$(SCRIPTS)/setup spin

setup-linux:
	@$(SCRIPTS)/setup linux

setup-mdbook:
	@$(SCRIPTS)/setup mdbook

# --- images ---------------------------------------------------------------------------

# cargo decides what is stale; `symbols` copies an image that changed and fills in its
# symbol table.
.PHONY: build/kernel.elf build/kernel-test.elf build/initrd.cpio build/initrd-test.cpio user-programs
build/kernel.elf: setup-rust
	@$(CROSS_BUILD) $(CROSS_FLAGS) -p kernel
	@$(SCRIPTS)/symbols $(OUT)/kernel $@

# Without the names for backtraces: a mutant needs none.
.PHONY: kernel-test-nameless
kernel-test-nameless: setup-rust
	@$(CROSS_BUILD) $(CROSS_FLAGS) --target-dir $(TESTS_TARGET) -p kernel --features selftest

build/kernel-test.elf: kernel-test-nameless
	@$(SCRIPTS)/symbols $(TESTS_TARGET)/$(TARGET)/release/kernel $@

# Without the names for backtraces: a build that inlines little has more than the table takes.
EDIT_FLAGS = $(CROSS_FLAGS:--release=--profile=edit)
.PHONY: build/kernel-quick.elf build/kernel-test-quick.elf
build/kernel-quick.elf: setup-rust
	@$(CROSS_BUILD) $(EDIT_FLAGS) -p kernel
	@cp $(EDIT)/kernel $@

build/kernel-test-quick.elf: setup-rust
	@$(CROSS_BUILD) $(EDIT_FLAGS) -p kernel --features selftest
	@cp $(EDIT)/kernel $@

user-programs: setup-rust
	@$(CROSS_BUILD) $(CROSS_FLAGS) -p user

INITRD_MEMBERS = $(foreach p,$(USER_PROGRAMS),bin/$(p)=$(OUT)/$(p))

build/initrd.cpio: user-programs
	@$(SCRIPTS)/mkinitrd $@ $(INITRD_MEMBERS)

build/c/%: user/c/%.c | setup-cross
	@mkdir -p $(@D)
	@echo "   Compiling $<"
	@$(C_COMPILER) $(C_FLAGS) -o $@ $<

.PHONY: c-programs
c-programs: setup-cross
	@$(MAKE) -s -j$(shell nproc) C_PROGRAMS_ALONE=1 $(addprefix build/c/,$(C_PROGRAMS))

# One program of several files; for Linux it is little-endian.
BENCH_SOURCES := $(wildcard user/c/bench/*)
build/c/bench: $(BENCH_SOURCES) | setup-cross
	@mkdir -p $(@D)
	$(C_COMPILER) $(C_FLAGS) -o $@ $(filter %.c,$^)

build/linux/bench: $(BENCH_SOURCES) | setup-linux
	@mkdir -p $(@D)
	$(LINUX_COMPILER) $(C_FLAGS) -o $@ $(filter %.c,$^)

# Some of the sequences that test-sequences draws, by a fixed seed.
build/sequences: $(wildcard $(SCRIPTS)/sequences*)
	@$(SCRIPTS)/sequences --write $@

build/initrd-test.cpio: user-programs build/sequences c-programs
	@$(SCRIPTS)/mkinitrd $@ $(INITRD_MEMBERS) sequences=build/sequences $(foreach p,$(C_PROGRAMS),c/$(p)=build/c/$(p))

# --- running --------------------------------------------------------------------------

# TESTS=on runs the image and the initrd of the tests; TEST= these tests, instead of init.
RUN_TESTS := $(if $(filter on,$(TESTS))$(TEST),-test)
ifneq ($(TEST),)
run profile: override TESTS := on
run profile: override APPEND := test=$(TEST) $(APPEND)
endif
# A program of ours as INITRD is built first: before the settings are checked.
OWN_INITRD := $(filter build/c/bench $(addprefix build/c/,$(C_PROGRAMS)),$(INITRD))

.PHONY: run compare gdb measure figures matrix
RUN_IMAGES = build/kernel$(RUN_TESTS)$(if $(QUICK),-quick).elf build/initrd$(RUN_TESTS).cpio
run: $(OWN_INITRD) setup-qemu $(RUN_IMAGES)
	@$(SCRIPTS)/run $(RUN_IMAGES)

# TEST= needs the image that has the tests.
TRACED_IMAGE = build/kernel$(if $(TEST),-test).elf build/initrd$(if $(TEST),-test).cpio
.PHONY: trace trace-settings trace-tool explain timelines
trace-settings:
	@$(SCRIPTS)/trace --check

trace-tool:
	@$(HOST_TOOL) $(SCRIPTS)/trace-tool/Cargo.toml

trace: trace-settings $(OWN_INITRD) setup-qemu $(TRACED_IMAGE) trace-tool
	@$(SCRIPTS)/trace $(TRACED_IMAGE) target/headline/release/trace-tool

# CPU= in the environment is the model of the runs.
explain: trace-tool
	@target/headline/release/trace-tool explain build/trace/trace.bin $(if $(MM),mm=$(MM)) \
		$(if $(filter command,$(origin CPU)),cpu=$(CPU))

timelines: setup-qemu build/kernel.elf build/initrd.cpio trace-tool
	@$(SCRIPTS)/timelines build/kernel.elf build/initrd.cpio target/headline/release/trace-tool

compare: $(OWN_INITRD) setup-qemu build/kernel.elf build/initrd.cpio
	@$(SCRIPTS)/compare build/kernel.elf build/initrd.cpio

# TEST= needs the image that has the tests.
GDB_IMAGE = build/kernel$(if $(TEST),-test)$(if $(QUICK),-quick).elf build/initrd$(if $(TEST),-test).cpio
.PHONY: terminal
terminal:
	@$(SCRIPTS)/gdb/start --check

gdb: terminal $(OWN_INITRD) setup-qemu setup-gdb $(GDB_IMAGE) trace-tool
	@$(SCRIPTS)/gdb/start $(GDB_IMAGE)

.PHONY: attach dump post-mortem nmi
nmi:
	@$(SCRIPTS)/nmi

attach: setup-gdb trace-tool
	@$(SCRIPTS)/gdb/attach

dump:
	@$(SCRIPTS)/gdb/dump $(DUMP)

post-mortem: setup-gdb trace-tool
	@$(SCRIPTS)/gdb/post-mortem $(DUMP)

.PHONY: replay
replay: terminal $(OWN_INITRD) setup-qemu setup-gdb $(GDB_IMAGE) trace-tool
	@$(SCRIPTS)/gdb/replay $(GDB_IMAGE)

figures: setup-qemu build/kernel.elf build/initrd.cpio
	@$(SCRIPTS)/figures build/kernel.elf build/initrd.cpio

measure: setup-qemu build/kernel.elf build/initrd.cpio
	@$(SCRIPTS)/measure build/kernel.elf build/initrd.cpio

# Programs for the host, in packages of their own (the plugin's licence is QEMU's).
.PHONY: headline headline-plugin headline-tools
HOST_TOOL := $(SCRIPTS)/cargo-build --release --target-dir target/headline --manifest-path
headline-plugin:
	@$(HOST_TOOL) $(SCRIPTS)/plugin/Cargo.toml

headline-tools: headline-plugin
	@$(HOST_TOOL) $(SCRIPTS)/coherence/Cargo.toml --features attribute

headline: setup-qemu build/kernel.elf build/c/headline headline-tools
	@$(SCRIPTS)/headline build/kernel.elf $(if $(QUICK),--quick) $(HEADLINE)

.PHONY: bench bench-check bench-linux
bench: setup-qemu build/kernel.elf build/c/bench
	@$(SCRIPTS)/bench build/kernel.elf $(if $(QUICK),--quick) $(BENCH)

bench-check: setup-qemu build/kernel.elf build/c/bench
	@$(SCRIPTS)/bench build/kernel.elf --check

bench-linux: setup-qemu setup-linux build/linux/bench
	@$(SCRIPTS)/bench build/kernel.elf --linux $(BENCH)

.PHONY: scale
scale: setup-qemu build/kernel.elf build/initrd.cpio build/c/bench
	@$(SCRIPTS)/scale build/kernel.elf build/initrd.cpio $(if $(QUICK),--quick)

.PHONY: headline-linux
build/linux/headline: user/c/headline.c | setup-linux
	@mkdir -p $(@D)
	$(LINUX_COMPILER) $(C_FLAGS) -o $@ $<

headline-linux: setup-qemu setup-linux build/linux/bench build/linux/headline headline-plugin
	@$(SCRIPTS)/headline build/kernel.elf --linux $(HEADLINE)

.PHONY: profile
profile: $(OWN_INITRD) setup-qemu build/kernel$(RUN_TESTS).elf build/initrd$(RUN_TESTS).cpio headline-tools
	@$(SCRIPTS)/profile build/kernel$(RUN_TESTS).elf build/initrd$(RUN_TESTS).cpio

matrix: setup-qemu build/kernel.elf build/kernel-test.elf build/initrd.cpio build/initrd-test.cpio
	@$(SCRIPTS)/matrix

# --- tests ----------------------------------------------------------------------------

# The driver builds each stage's needs, so that a build that fails is a failed stage.
TEST_STAGES := $(addprefix test-,host loom mutants prove riscv64 instructions kernel sequences crashes programs bad-input \
	fuzz monitor gdb guide headline bench determinism starts soak)

.PHONY: test $(TEST_STAGES)
test:
	@$(SCRIPTS)/test

$(TEST_STAGES):
	@$(SCRIPTS)/test $(@:test-%=%)

.PHONY: prove
prove: setup-spin
	@$(SCRIPTS)/prove $(LAZY)

.PHONY: mutants
mutants: setup-rust setup-qemu user-programs
	@$(SCRIPTS)/mutants $(MUTANT)

.PHONY: mutants-drawn
mutants-drawn: setup-rust setup-qemu setup-cross build/initrd-test.cpio
	@$(SCRIPTS)/mutants-drawn

.PHONY: soak
soak: setup-qemu build/kernel-test.elf build/initrd-test.cpio
	@$(SCRIPTS)/soak

.PHONY: lint layers unused references twice fences fences-check frames instructions guide lines
lint: setup-rust layers unused references twice fences-check guide frames instructions
	cargo fmt --all --check
	cargo clippy --all-targets -- -D warnings
	RUSTFLAGS="--cfg loom" cargo clippy --target-dir target/loom -p kcore --tests -- -D warnings
	$(CROSS_CARGO) clippy $(CROSS_FLAGS) -p kernel -p user -- -D warnings
	$(CROSS_CARGO) clippy $(CROSS_FLAGS) -p kernel --features selftest -- -D warnings
	for tool in plugin coherence trace-tool perfetto-check; do \
		cargo fmt --check --manifest-path $(SCRIPTS)/$$tool/Cargo.toml && \
		cargo clippy --target-dir target/headline --manifest-path $(SCRIPTS)/$$tool/Cargo.toml --all-features --all-targets \
			-- -D warnings || exit 1; \
	done

layers:
	@$(SCRIPTS)/layers

unused:
	@$(SCRIPTS)/unused

references:
	@$(SCRIPTS)/references

twice:
	@$(SCRIPTS)/twice

fences:
	@$(SCRIPTS)/fences

# Fails if the table is stale.
fences-check:
	@$(SCRIPTS)/fences --check

guide:
	@$(SCRIPTS)/guide --check
	@$(SCRIPTS)/lines --check

lines:
	@$(SCRIPTS)/lines

.PHONY: doc
doc: setup-mdbook setup-rust
	@$(SCRIPTS)/book
	@RUSTDOCFLAGS="-D warnings" cargo doc --no-deps
	@RUSTDOCFLAGS="-D warnings" $(CROSS_CARGO) doc $(CROSS_FLAGS) --no-deps -p kernel -p user --features kernel/selftest

.PHONY: guide-check
guide-check: setup-qemu setup-gdb setup-cross build/kernel.elf build/initrd.cpio trace-tool
	@$(SCRIPTS)/guide-check $(PAGE)

frames: build/kernel.elf build/kernel-test.elf
	@$(SCRIPTS)/frames $^

instructions: build/kernel.elf build/kernel-test.elf
	@$(SCRIPTS)/instructions $^

.PHONY: clean distclean
clean:
	rm -rf target build/c build/*.elf build/*.cpio build/test
distclean:
	rm -rf target build
