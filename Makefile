# The verbs of the project. Each works alone on a fresh clone; what they do stands in scripts/.
.PHONY: setup setup-gpu build test demo bench gpu-bundle test-gpu bench-gpu demo-model-eval format tidy fuzz clean

# Compiler cache hits across clones: paths inside the tree count as relative.
export CCACHE_BASEDIR := $(CURDIR)
export CCACHE_NOHASHDIR := 1
export PATH := $(PATH):$(HOME)/.cargo/bin

# Where demo-model-eval asks, and what else evaluate is told: make demo-model-eval URL=... ARGS='--count 20'.
URL ?= http://localhost:8000/v1
ARGS ?=

setup:        ; @scripts/setup
setup-gpu:    ; @scripts/setup --gpu
build: setup  ; @cmake --preset release && cmake --build --preset release
test: build   ; @scripts/test
demo: build   ; @scripts/demo
bench: build  ; @scripts/bench
gpu-bundle: setup-gpu ; @scripts/gpu_bundle
test-gpu:     ; @scripts/test_gpu
bench-gpu:    ; @scripts/bench_gpu
demo-model-eval: ; @python3 -m tools.demo_model.evaluate --base-url $(URL) $(ARGS)
format: setup ; @scripts/format
tidy:         ; @scripts/setup --tidy && scripts/tidy
fuzz:         ; @scripts/setup --fuzz && scripts/fuzz
clean:        ; rm -rf build
