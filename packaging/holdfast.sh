#!/bin/sh
# The program lies beside this file's folder, wherever the package was put.
# Without these glibc keeps what a storm of clients has freed.
export MALLOC_ARENA_MAX=2 MALLOC_MMAP_THRESHOLD_=32768 MALLOC_TRIM_THRESHOLD_=131072
exec node "$(dirname "$(readlink -f "$0")")/../lib/holdfast/holdfast.js" "$@"
