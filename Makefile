# make demo: set up and do the main job on real pages.   make test: set up and run every test.
.PHONY: demo tutorial test setup lint check fuzz soak bench fidelity live-virtual generate oracle-zswap oracle-vm clean

setup:
	ci/setup.sh

demo: setup
	ci/demo.sh

test: setup
	ci/test-rust.sh
	ci/test-loom.sh
	ci/test-shuttle.sh
	ci/generated.sh
	ci/test-python.sh
	ci/examples.sh

# The commands of the tutorial, their output put under them.
tutorial: setup
	.venv/bin/python tools/run_docs.py docs/tutorial.md

lint: setup
	ci/lint-rust.sh
	ci/lint-python.sh
	ci/docs.sh
	ci/sdist.sh

# Long, its stages add up to less than two hours: loom with every schedule (three preemptions for those models that do not end so), shuttle with
# a thousand schedules, proptest and Hypothesis with many more cases, the whole product of the designs' axes, the explorer's larger bounds. docs/proofs.md says what each costs.
check: setup
	LOOM_MAX_PREEMPTIONS=none ci/test-loom.sh
	KCOMPRESSD_SHUTTLE_RUNS=1000 ci/test-shuttle.sh
	PROPTEST_CASES=3000 ci/test-rust.sh
	PRODUCT_STRIDE=1 ci/test-rust.sh --release --test product
	KCOMPRESSD_ALL_MUTANTS=1 ci/test-python.sh tests/test_mutants.py
	.venv/bin/python tools/make_proofs.py --check
	ci/tsan.sh
	KCOMPRESSD_STATEFUL=1000 KCOMPRESSD_DICE=20000 ci/test-python.sh tests/test_stateful.py tests/test_sim_budget.py

# Long: coverage-guided fuzzing of the decoders, encoders, zsmalloc and the judge; FUZZ_SECONDS for each (default 60).
fuzz:
	ci/fuzz.sh

# Long: a sample of the mutants of the core; SEED and COUNT choose it, SECONDS_EACH ends a call that the next goes on with.
.PHONY: mutants
mutants:
	ci/mutants.sh

# ThreadSanitizer; needs a nightly toolchain with rust-src.
.PHONY: tsan
tsan:
	ci/tsan.sh

# Ten million page lives with everything going wrong at random (a quarter of an hour).
soak:
	ci/soak.sh

# Long: every benchmark of docs/benchmarks.md, and the codecs'. RECORD=1 writes the page's tables.
bench: setup
	ci/bench.sh
	cargo bench -p kcompressd-benches --bench codec
	cargo bench -p kcompressd-benches --bench store
	cargo bench -p kcompressd-benches --bench virtual_time
	ci/callgrind.sh

# The ground truth's machine and workload in virtual time beside a kernel's own counters.
fidelity: setup
	.venv/bin/python tools/fidelity.py

# Throughput of real threads against virtual time on this machine, which must be idle.
live-virtual: setup
	.venv/bin/python tools/live_virtual.py

# Instructions a page of the store path; needs valgrind.
.PHONY: instructions
instructions:
	python3 benches/instructions.py --write

# After a change of python/kcompressd/lifecycle.py.
generate: setup
	GENERATE=1 ci/generated.sh

# Root: this kernel's own zswap beside ours; every setting is put back.
oracle-zswap: setup
	.venv/bin/python tools/oracle_zswap.py

# Another kernel's zram beside ours, in a virtual machine: make oracle-vm DEB=linux-image-….deb (apt-get download).
oracle-vm: setup
	.venv/bin/python tools/kernel_vm.py $(DEB)

# Another kernel's reclaim, in a virtual machine (some minutes): make oracle-eater DEB=linux-image-….deb FILE=py.pages.zst
.PHONY: oracle-eater
oracle-eater: setup
	.venv/bin/python tools/kernel_eater.py $(DEB) $(FILE)
	.venv/bin/python tools/kernel_eater.py $(DEB) $(FILE) --lru-gen

# Asks every file of experiments/ in virtual time and writes docs/answers.md; seven minutes.
.PHONY: answers
answers: setup
	ci/answers.sh

# What the explorer has seen, docs/proofs.md (some minutes).
proofs: setup
	.venv/bin/python tools/make_proofs.py

# The sdist and an abi3 wheel for manylinux in target/wheels, installed into empty environments and run (docs/howto.md; some minutes).
.PHONY: wheels
wheels: setup
	ci/wheels.sh

# What a sweep of 10 000 points costs, measured with 1 and 2 workers and modelled beyond; the machine must be idle (a minute).
.PHONY: sweep-cost
sweep-cost: setup
	.venv/bin/python tools/sweep_cost.py

clean:
	rm -rf target .venv
