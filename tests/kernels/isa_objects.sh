#!/bin/sh
# Code compiled for one instruction set must not reach other processors: an inline function that two
# objects share is kept once by the linker, and nobody knows which. So the objects of instruction
# sets may define nothing but their table. Arguments: all objects of kernels/cpu.
found=0
for object in "$@"; do
  case "$object" in
    *kernels_portable*|*kernels_avx*|*kernels_amx*) ;;
    *) continue ;;
  esac
  found=$((found + 1))
  shared=$(nm --defined-only --extern-only "$object" | grep -v 'Kernels[E]*$')
  if [ -n "$shared" ]; then
    echo "$object defines more than its table:"
    echo "$shared"
    exit 1
  fi
done
echo "$found objects define their tables only"
[ "$found" -gt 0 ]
