#!/bin/sh
# The stripped library stays within 1 MiB.
set -eu
limit=1048576
[ "$BUILD_TYPE" = Release ] && [ -z "$SANITIZE" ] || { echo "SKIP: sizes are those of a release build"; exit 77; }
[ "$(uname -m)" = x86_64 ] || { echo "SKIP: the limit is for x86-64 hosts"; exit 77; }
stripped=$(mktemp)
trap 'rm -f "$stripped"' EXIT
strip -o "$stripped" "$SHARED"
bytes=$(wc -c <"$stripped")
echo "stripped library: $bytes bytes, limit $limit"
[ "$bytes" -le "$limit" ]
