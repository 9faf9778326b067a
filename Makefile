# The verbs of the project. Each works alone on a fresh clone; what they do stands in scripts/.
.PHONY: setup setup-gpu build test demo bench gpu-bundle test-gpu bench-gpu format tidy fuzz clean

# Compiler cache hits across clones: paths inside the tree count as relative.
export CCACHE_BASEDIR := $(CURDIR)
export CCACHE_NOHASHDIR := 1
export PATH := $(PATH):$(HOME)/.cargo/bin

setup:        ; @scripts/setup
setup-gpu:    ; @scripts/setup --gpu
build: setup  ; @cmake --preset release && cmake --build --preset release
test: build   ; @scripts/test
demo: build   ; @scripts/demo
bench: build  ; @scripts/bench
gpu-bundle: setup-gpu ; @scripts/gpu_bundle
test-gpu:     ; @scripts/test_gpu
bench-gpu:    ; @scripts/bench_gpu
format: setup ; @scripts/format
tidy:         ; @scripts/setup --tidy && scripts/tidy
fuzz:         ; @scripts/setup --fuzz && scripts/fuzz
clean:        ; rm -rf build
