#!/usr/bin/env bash
# Runs the examples as a reader would: real processes on loopback, and what each of them must print.
#
#     .ci/examples.sh              all of them
#     .ci/examples.sh flags chat   some of them
set -euo pipefail
cd "$(dirname "$0")/.."

status=0
for check in */examples/*/check.sh; do
    name="$(basename "$(dirname "$check")")"
    if [ $# -gt 0 ] && [[ " $* " != *" $name "* ]]; then continue; fi
    printf -- '-- %s\n' "$name"
    "$check" || { printf '   FAILED: %s\n' "$check" && status=1; }
done
exit "$status"
