#!/usr/bin/env bash
# Chat in a few terminals:
#
#     run-demo.sh seed      the node that everybody comes in through
#     run-demo.sh node N    any other, by number
#
# CHAT_LISTEN, CHAT_SEED and CHAT_FOLDER change where nodes listen, where they come in, and where their keys are.
set -euo pipefail
cd "$(dirname "$0")/../../.."

folder="${CHAT_FOLDER:-target/chat}"
seed="${CHAT_SEED:-127.0.0.1:7500}"
case "${1:-} ${2:-}" in
"seed ") arguments=(seed "$folder/seed" "${CHAT_LISTEN:-$seed}") ;;
"node "[0-9]*) arguments=("node$2" "$folder/node$2" "${CHAT_LISTEN:-127.0.0.1:0}" "$seed") ;;
*)
    echo "say: $0 seed, or $0 node N" >&2
    exit 2
    ;;
esac
mkdir -p "$folder"
exec cargo run --quiet --example chat -- "${arguments[@]}"
