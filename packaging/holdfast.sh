#!/bin/sh
# The program lies beside this file's folder, wherever the package was put.
exec node "$(dirname "$(readlink -f "$0")")/../lib/holdfast/holdfast.js" "$@"
