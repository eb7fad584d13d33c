#!/bin/sh
# Starts the program, which lies beside this file's folder: in lib/ where a package put it, or in dist/ where it was built.
# Without these glibc keeps what the start needed for a moment and what a storm of clients has freed.
export MALLOC_ARENA_MAX=2 MALLOC_MMAP_THRESHOLD_=32768 MALLOC_TRIM_THRESHOLD_=131072
beside=$(dirname "$(readlink -f "$0")")/..
program=$beside/lib/holdfast/holdfast.js
[ -f "$program" ] || program=$beside/dist/main.js
exec node "$program" "$@"
