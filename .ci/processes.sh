# shellcheck shell=bash
# What the examples' scripts share: real processes, what is said to them, and what they must print. Sourced, never run.
#
# A process is started under a name. `say` writes a line to it, `expect` reads what it prints, line by line, until one
# matches; each line is read once, so the order counts. Nothing here waits but for a line, and never without a deadline.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 2

patience="${PATIENCE:-60}" # seconds that a line may take
desk="$(mktemp -d)"        # the processes' folders and outputs
declare -A pids ins outs   # by name: the process, and both ends of it
matched=()                 # what the last pattern found

cleanup() {
    local status=$? name
    trap - EXIT INT TERM
    exec 2>/dev/null # who is killed here has done its part
    for name in "${!pids[@]}"; do kill -KILL "${pids[$name]}" || true; done
    wait || true
    rm -rf "$desk"
    exit "$status"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

# All examples, with the features that the tests of the whole workspace build them with: nothing is built twice.
build() {
    cargo build --quiet --workspace --examples
    examples="$(realpath "${CARGO_TARGET_DIR:-target}/debug/examples")"
}

start() { # NAME COMMAND...
    local name="$1"
    shift
    rm -f "$desk/$name.in" "$desk/$name.out"
    mkfifo "$desk/$name.in" "$desk/$name.out"
    "$@" <"$desk/$name.in" >"$desk/$name.out" 2>>"$desk/$name.errors" &
    pids[$name]=$!
    exec {ins[$name]}>"$desk/$name.in" {outs[$name]}<"$desk/$name.out"
}

say() { # NAME LINE
    printf '%s\n' "$2" >&"${ins[$1]}"
}

# Reads what a process prints until every pattern has matched some line, in whatever order.
expect() { # NAME PATTERN...
    local name="$1" line left deadline=$((SECONDS + patience)) seen="" pattern
    shift
    while [ $# -gt 0 ] && left=$((deadline - SECONDS)) && [ "$left" -gt 0 ]; do
        IFS= read -r -t "$left" -u "${outs[$name]}" line || break
        seen+="      $line"$'\n'
        for pattern in "$@"; do
            shift
            if [[ $line =~ $pattern ]]; then
                # shellcheck disable=SC2034 # used by those who source this
                matched=("${BASH_REMATCH[@]}")
                printf '   %-8s %s\n' "$name" "$line"
            else
                set -- "$@" "$pattern"
            fi
        done
    done
    [ $# -gt 0 ] || return 0
    printf '   %s did not print %s; it printed:\n%s' "$name" "$1" "$seen"
    sed 's/^/   errors: /' "$desk/$name.errors"
    exit 1
}

# Waits until a process has ended by itself, and asserts how.
ended() { # NAME STATUS
    local line status=0 deadline=$((SECONDS + patience))
    while IFS= read -r -t "$((deadline > SECONDS ? deadline - SECONDS : 1))" -u "${outs[$1]}" line; do :; done
    wait "${pids[$1]}" || status=$?
    unset "pids[$1]"
    [ "$status" -eq "$2" ] && return 0
    printf '   %s ended with status %s, expected %s\n' "$1" "$status" "$2"
    sed 's/^/   errors: /' "$desk/$1.errors"
    exit 1
}

# Kills a process as a crash would: without a word.
crash() { # NAME
    kill -KILL "${pids[$1]}"
    wait "${pids[$1]}" 2>/dev/null || true
    unset "pids[$1]"
}
