#!/usr/bin/env bash
# The two terminals of the README, with what must appear in each. Only the port is another: any that is free.
# shellcheck source=.ci/processes.sh
source "$(dirname "$0")/../../../.ci/processes.sh"

readme() { # ROLE
    grep -xF "cargo run --example quickstart $1" README.md || { echo "   README.md does not start a $1" && exit 1; }
}
worker="$(readme worker)"
caller="$(readme caller)"
build

# Who is called for nothing says what would be right, in one line; whom nobody answers says that it is looking, and for whom.
# shellcheck disable=SC2154 # build has said where they are
start lost "$examples/quickstart" nobody
ended lost 2
# shellcheck disable=SC2154 # the desk is everybody's
grep '^error: say what to be: ' "$desk/lost.errors"
start astray "$examples/quickstart" caller here
ended astray 2
grep '^error: "here" is no address: ' "$desk/astray.errors"
# shellcheck disable=SC2086 # commands
start early $caller 127.0.0.1:9
expect early '^still looking for "worker": 127\.0\.0\.1:9 has not answered yet$'

# shellcheck disable=SC2086 # commands
start worker $worker 127.0.0.1:0
expect worker '^listening at (.*)$'
addr="${matched[1]}"
expect worker '^registered as "worker"$'

# shellcheck disable=SC2086 # commands
start caller $caller "$addr"
expect caller '^found the worker on node [0-9a-f]{8}$'
expect caller '^2 \+ 3 = 5$'
ended caller 0
expect worker '^asked for 2 \+ 3$'
