#!/bin/sh
# Compiles one .cu file for sm_90a: object, and what the compiler made on the way (PTX, cubin, ptxas' report), which
# the static gates and the emulated tests read.
#
# usage: compile.sh NVCC SOURCE INCLUDE_DIRECTORY OUTPUT_DIRECTORY
set -eu
nvcc=$1 source=$2 include=$3 out=$4
name=$(basename "$source" .cu)
keep=$out/$name.keep
mkdir -p "$keep"
# -fmad=false: a product and a sum are fused where fmaf says so and nowhere else, so that two kernels which compute the
# same rows for different numbers of them agree to the bit. Not -arch=sm_90a: it adds a pass for plain sm_90, which knows no wgmma. Diagnostic 177 takes a template's constants for
# unused.
if ! "$nvcc" -std=c++20 -O3 -fmad=false -lineinfo -gencode arch=compute_90a,code=sm_90a -cudart shared -Xptxas -v \
    -Xcompiler=-fPIC,-fvisibility=hidden,-ffp-contract=off -Werror all-warnings -diag-suppress 177 -I "$include" \
    --keep --keep-dir "$keep" -MD -MF "$out/$name.d" -MT "$out/$name.o" -c "$source" -o "$out/$name.o" \
    > "$out/$name.ptxas.txt" 2>&1; then
  cat "$out/$name.ptxas.txt" >&2
  exit 1
fi
mv "$keep/$name.ptx" "$out/$name.ptx"
mv "$keep"/*.cubin "$out/$name.cubin"
rm -r "$keep"
