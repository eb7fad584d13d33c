#!/bin/sh
# Starts the program, which lies beside this file's folder: in lib/ where a package put it, or in dist/ where it was built.
# Without these glibc keeps what the start needed for a moment and what a storm of clients has freed: pages of kept
# messages (src/slab.ts) get memory of their own, and the heap of what is smaller does not grow ahead of need.
export MALLOC_ARENA_MAX=2 MALLOC_MMAP_THRESHOLD_=16384 MALLOC_TRIM_THRESHOLD_=131072 MALLOC_TOP_PAD_=0
beside=$(dirname "$(readlink -f "$0")")/..
program=$beside/lib/holdfast/holdfast.js
[ -f "$program" ] || program=$beside/dist/main.js
exec node "$program" "$@"
