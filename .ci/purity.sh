#!/usr/bin/env bash
# Proves that the core asks nothing of its environment: links it with nothing else and reads what is left undefined.
#
# Allowed are the memory functions that the compiler itself calls, the personality of an unwinder that is never entered,
# and the probe's allocator. The dependencies are built in the versions of the workspace's lock file, with the features
# that the core alone asks for.
set -euo pipefail
cd "$(dirname "$0")/.."
probe=.ci/purity
target="$(realpath -m "${CARGO_TARGET_DIR:-target}")/purity"
library="$target/libpurity.so"
allowed="memcpy memmove memset memcmp bcmp rust_eh_personality purity_alloc purity_dealloc"
[ "$(uname -s)" = Linux ] || { echo "the probe reads ELF symbols and runs on Linux only" && exit 1; }

cp Cargo.lock "$probe/Cargo.lock" # the probe keeps what it needs of it; not committed
if ! CARGO_TARGET_DIR="$target" cargo build --quiet --release --manifest-path "$probe/Cargo.toml"; then
    echo "the core does not build on bare ground; a second panic handler (\`panic_impl\`) means that std came in"
    exit 1
fi

cc -shared -nostdlib -o "$library" -Wl,--gc-sections -Wl,-u,purity_entry -Wl,--unresolved-symbols=ignore-all \
    "$target/release/libpurity.a"
nm -D --defined-only "$library" | grep -q ' purity_entry$' || { echo "the probe's entry was not linked" && exit 1; }

missing="$(nm -D -u "$library" | awk '{ print $NF }' | sort)"
[ -n "$missing" ] || { echo "nothing is undefined, not even the allocator: the probe reached no code" && exit 1; }
foreign="$(comm -23 <(echo "$missing") <(tr ' ' '\n' <<<"$allowed" | sort))"
if [ -n "$foreign" ]; then
    echo "the core asks its environment for more than memory:"
    printf '    %s\n' "${foreign//$'\n'/$'\n    '}"
    exit 1
fi
echo "the core asks for nothing but ${missing//$'\n'/, }"
