#!/usr/bin/env bash
# Jobs go to whoever has least to do; a worker that dies is found out, and so is its job.
# shellcheck source=.ci/processes.sh
source "$(dirname "$0")/../../../.ci/processes.sh"
build

# Who says nothing is told what would be right.
start lost "$examples/worker_pool"
ended lost 2
grep '^error: say: ' "$desk/lost.errors"

start desk "$examples/worker_pool" desk 127.0.0.1:0
expect desk '^the desk listens at (.*)$'
seed="${matched[1]}"
say desk job
expect desk '^there is nobody to do it$'
for name in ann bob; do
    start "$name" "$examples/worker_pool" worker 127.0.0.1:0 "$seed" "$name"
    expect "$name" "^$name is ready\$"
    expect desk "^$name has 0 jobs\$"
done

say desk job
expect desk '^job 1 goes to ann$'
expect desk '^ann has 1 jobs$'
say desk job
expect desk '^job 2 goes to bob$'
expect desk '^bob has 1 jobs$'
expect bob '^job 2 begins$'
say bob 'done'
expect desk '^job 2 was done by bob$' '^bob has 0 jobs$' # these go different ways
say desk job
expect desk '^job 3 goes to bob$'

crash ann
expect desk '^job 1 is lost: ' '^ann is gone$'
