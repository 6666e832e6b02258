#!/bin/sh
# The ABI against the stored baseline. `tests/abi/abi.sh rebase` with SHARED set stores a new one (in a release build
# with -g: a stripped library hides changes of structs).
set -eu
here=tests/abi
baseline=$here/baseline.abi
if ! command -v abidw >/dev/null || ! command -v abidiff >/dev/null; then
    echo "SKIP: abidw and abidiff (package abigail-tools) are not installed"
    exit 77
fi
if [ -n "${SANITIZE:-}" ] || [ "${BUILD_TYPE:-Release}" != Release ]; then
    echo "SKIP: the baseline is that of the release build"
    exit 77
fi
if [ "${1:-}" = rebase ]; then
    abidw --headers-dir include --drop-private-types --no-corpus-path --no-comp-dir-path \
        --out-file "$baseline" "$SHARED"
    # The same on every machine. Locations must stay: abidiff knows by them which types are public.
    sed -i "s|$PWD/||g; s|build/[a-z]*/arrows/[a-z_]*/|include/|g; s| line='[0-9]*' column='[0-9]*'| line='1' column='1'|g" \
        "$baseline"
    exit 0
fi
# Fails on any difference but added functions; growth of a struct at its end needs a line in suppressions.
abidiff --no-added-syms --headers-dir2 include --suppressions "$here/suppressions" "$baseline" "$SHARED"
