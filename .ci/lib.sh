# shellcheck shell=bash
# What .ci/run and .ci/full share: the runner of steps and a few words for them. Sourced, never run.

cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 2
export CARGO_TERM_COLOR=never INSTA_UPDATE=no
# Every step builds once: what rustc keeps for the next build would only fill the disk.
export CARGO_INCREMENTAL=0
CARGO_TARGET_DIR="$(realpath -m "${CARGO_TARGET_DIR:-target}")"
export CARGO_TARGET_DIR
failures="$CARGO_TARGET_DIR/ci-failures" # the capsules, outputs and lists that a failed step leaves for its reader

# The scenario whose hash has to be the same everywhere.
# shellcheck disable=SC2034 # used by those who source this
main_scenario=scenarios/first/partition-heal.toml

say() { printf '   %s\n' "$*"; }
fail() {
    printf '%s\n' "$@" | sed 's/^/   /'
    return 1
}

# Runs steps one after another, each in a shell of its own; goes on after a failure; ends with one line for each.
run_steps() { # STEP...
    local step status began overall=0 summary="" total_began=$SECONDS
    mkdir -p "$failures"
    for step in "$@"; do
        printf '== %s\n' "$step"
        began=$SECONDS
        set +e
        (
            set -e
            "step_$step"
        )
        status=$?
        set -e
        if [ "$status" -eq 0 ]; then
            summary+="$(printf 'ok      %-12s %4d s' "$step" $((SECONDS - began)))"$'\n'
        else
            summary+="$(printf 'FAILED  %-12s %4d s   again alone: %s %s' "$step" $((SECONDS - began)) "$0" "$step")"$'\n'
            overall=1
        fi
        tail -n 2 <<<"$summary" | head -n 1
    done
    printf '== summary\n%s' "$summary"
    printf 'total   %s min %s s\n' $(((SECONDS - total_began) / 60)) $(((SECONDS - total_began) % 60))
    return "$overall"
}

# Runs the steps named on the command line, or all of them; a name that is none is a usage error.
main() { # ALL_STEPS -- ARGUMENTS...
    local all="$1" step
    shift 2
    for step in "$@"; do
        if ! grep -qw -- "$step" <<<"$all"; then
            printf 'unknown step %s; the steps are: %s\n' "$step" "$all"
            exit 2
        fi
    done
    if [ $# -gt 0 ]; then
        run_steps "$@"
    else
        # shellcheck disable=SC2086 # a list of words
        run_steps $all
    fi
}

# The one command of the README that begins like this: what is documented is what is run.
readme_command() { # BEGINNING
    local found
    found="$(grep -E "^$1( |\$)" README.md || true)"
    [ "$(grep -c . <<<"$found")" -eq 1 ] || fail "README.md should hold exactly one line that begins with '$1'; found:" "$found"
    echo "$found"
}

# Runs the command, built in this profile. Its exit status is the command's.
rumormill() { # dev|release ARGUMENTS...
    local profile="$1"
    shift
    cargo run --quiet --profile "$profile" --package rumormill-scenarios --bin rumormill -- "$@"
}

# Reads one run's JSON and prints its trace hash.
trace_hash() {
    sed -n 's/.*"trace_hash": *"\([^"]*\)".*/\1/p' | head -n 1 | grep .
}

# Reads one run's JSON and prints all of it that is a function of commit, scenario and seed.
without_cost() {
    tr -d '\n' | sed 's/"cost": *{[^}]*}//'
}
