# The verbs of the project. Each works alone on a fresh clone; what they do stands in scripts/.
.PHONY: setup build test demo bench format tidy fuzz clean

# Compiler cache hits across clones: paths inside the tree count as relative.
export CCACHE_BASEDIR := $(CURDIR)
export CCACHE_NOHASHDIR := 1
export PATH := $(PATH):$(HOME)/.cargo/bin

setup:        ; @scripts/setup
build: setup  ; @cmake --preset release && cmake --build --preset release
test: build   ; @scripts/test
demo: build   ; @scripts/demo
bench: build  ; @scripts/bench
format: setup ; @scripts/format
tidy:         ; @scripts/setup --tidy && scripts/tidy
fuzz:         ; @scripts/setup --fuzz && scripts/fuzz
clean:        ; rm -rf build
