#!/usr/bin/env bash
# The shop answers before its recommender is there, while it is, after it was killed, and when another one comes.
# shellcheck source=.ci/processes.sh
source "$(dirname "$0")/../../../.ci/processes.sh"
build

# Who says nothing is told what would be right.
start lost "$examples/graceful_degradation"
ended lost 2
grep '^error: say: ' "$desk/lost.errors"

start shop "$examples/graceful_degradation" shop 127.0.0.1:0
expect shop '^the shop listens at (.*)$'
seed="${matched[1]}"
say shop ask
expect shop '^default: a book \(.*no recommender\)$'

start one "$examples/graceful_degradation" recommender 127.0.0.1:0 "$seed"
expect one '^recommending$'
expect shop '^\* the recommender is there$'
say shop ask
expect shop '^fresh: a kite for eve$'

crash one
say shop ask
expect shop '^stale: a kite for eve \(.*\)$'
expect shop '^\* the recommender is gone: Dead$'
say shop ask
expect shop '^stale: a kite for eve \(.*no recommender\)$'

start two "$examples/graceful_degradation" recommender 127.0.0.1:0 "$seed"
expect shop '^\* the recommender is there$'
say shop ask
expect shop '^fresh: a kite for eve$'
