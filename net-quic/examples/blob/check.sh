#!/usr/bin/env bash
# Eight megabytes go from one process to another, and arrive as they were.
# shellcheck source=.ci/processes.sh
source "$(dirname "$0")/../../../.ci/processes.sh"
build

# Who says nothing is told what would be right.
start lost "$examples/blob"
ended lost 2
grep '^error: say: ' "$desk/lost.errors"

mkdir "$desk/taken"
head -c 8000000 /dev/urandom >"$desk/large"
: >"$desk/empty"

start taker "$examples/blob" take 127.0.0.1:0 "$desk/taken"
expect taker '^taking at (.*)$'
seed="${matched[1]}"
for file in large empty; do
    size="$(stat -c %s "$desk/$file")"
    start giver "$examples/blob" give "$seed" "$desk/$file"
    expect giver "^[0-9a-f]{8} took $size bytes\$"
    ended giver 0
    expect taker "^took $file: $size bytes from [0-9a-f]{8}\$"
    cmp "$desk/$file" "$desk/taken/$file"
done
