# make demo: set up and do the main job on real pages.   make test: set up and run every test.
.PHONY: demo test setup lint check bench generate clean

setup:
	ci/setup.sh

demo: setup
	ci/demo.sh

test: setup
	ci/test-rust.sh
	ci/test-loom.sh
	ci/generated.sh
	ci/test-python.sh

lint: setup
	ci/lint-rust.sh
	ci/lint-python.sh
	ci/docs.sh

# Long: loom without a bound on preemptions, proptest and Hypothesis with many more cases.
check: setup
	LOOM_MAX_PREEMPTIONS=none ci/test-loom.sh
	PROPTEST_CASES=20000 ci/test-rust.sh

bench:
	cargo bench -p kcompressd-benches --bench queue
	cargo bench -p kcompressd-benches --bench codec

# After a change of python/kcompressd/lifecycle.py.
generate: setup
	GENERATE=1 ci/generated.sh

clean:
	rm -rf target .venv
