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
