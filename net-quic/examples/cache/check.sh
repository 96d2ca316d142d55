#!/usr/bin/env bash
# A price is asked once and remembered, until the shop that said it is gone.
# shellcheck source=.ci/processes.sh
source "$(dirname "$0")/../../../.ci/processes.sh"
build

# Who says nothing is told what would be right.
start lost "$examples/cache"
ended lost 2
grep '^error: say: ' "$desk/lost.errors"

start customer "$examples/cache" customer 127.0.0.1:0
expect customer '^the customer listens at (.*)$'
seed="${matched[1]}"
say customer 'price kite'
expect customer '^nobody sells kite$'

start cheap "$examples/cache" shop 127.0.0.1:0 "$seed" 7
expect cheap '^the shop is open$'
expect customer '^\* a shop is there$'
say customer 'price kite'
expect customer '^kite costs 7, asked$'
say customer 'price kite'
expect customer '^kite costs 7, remembered$'

crash cheap
expect customer '^\* a shop is gone: 1 prices forgotten$'
say customer 'price kite'
expect customer '^nobody sells kite$'

start dear "$examples/cache" shop 127.0.0.1:0 "$seed" 9
expect customer '^\* a shop is there$'
say customer 'price kite'
expect customer '^kite costs 9, asked$'
