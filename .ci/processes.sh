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
    for name in "${!pids[@]}"; do kill -KILL "${pids[$name]}" 2>/dev/null || true; done
    wait 2>/dev/null || true
    rm -rf "$desk"
    exit "$status"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

# The programs of one package, built once.
build() { # PACKAGE
    local built="${CARGO_TARGET_DIR:-target}/debug/examples"
    cargo build --quiet --package "$1" --examples
    examples="$(realpath "$built")"
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

expect() { # NAME PATTERN
    local line left deadline=$((SECONDS + patience)) seen=""
    while left=$((deadline - SECONDS)) && [ "$left" -gt 0 ]; do
        IFS= read -r -t "$left" -u "${outs[$1]}" line || break
        seen+="      $line"$'\n'
        if [[ $line =~ $2 ]]; then
            # shellcheck disable=SC2034 # used by those who source this
            matched=("${BASH_REMATCH[@]}")
            printf '   %-8s %s\n' "$1" "$line"
            return 0
        fi
    done
    printf '   %s did not print %s; since the last match it printed:\n%s' "$1" "$2" "$seen"
    sed 's/^/   errors: /' "$desk/$1.errors"
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
