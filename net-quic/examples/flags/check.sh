#!/usr/bin/env bash
# Three processes share flags; one is killed and refilled by the others.
# shellcheck source=.ci/processes.sh
source "$(dirname "$0")/../../../.ci/processes.sh"
build

# Who says nothing is told what would be right.
start lost "$examples/flags"
ended lost 2
grep '^error: say: ' "$desk/lost.errors"

start ann "$examples/flags" ann 127.0.0.1:0
expect ann '^ann listens at (.*)$'
seed="${matched[1]}"
expect ann '^0 flags are set$'
for name in bob eve; do
    start "$name" "$examples/flags" "$name" 127.0.0.1:0 "$seed"
    expect "$name" '^0 flags are set$'
done

# Put here, seen and read there.
say ann 'put dark true'
say ann 'put beta false'
for name in ann bob eve; do
    expect "$name" '^\* dark = true$'
    expect "$name" '^\* beta = false$'
done
say eve 'get dark'
expect eve '^dark = true$'
say bob keys
expect bob '^keys: beta dark$'

# Whatever is no boolean is refused, and nobody ever sees it.
say bob 'put dark maybe'
expect bob '^error: the schema refused the value; nothing changed$'
say bob 'get dark'
expect bob '^dark = true$'

# Removed there, gone here.
say eve 'remove beta'
expect ann '^\* beta is removed$'
say ann 'get beta'
expect ann '^beta is not set$'

# A process that is killed has nothing of its own; the others refill it.
crash bob
start bob "$examples/flags" bob 127.0.0.1:0 "$seed"
expect bob '^\* dark = true$'
say bob keys
expect bob '^keys: dark$'

for name in ann bob eve; do
    say "$name" quit
    expect "$name" "^$name has left\$"
    ended "$name" 0
done
