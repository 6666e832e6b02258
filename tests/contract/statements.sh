#!/bin/bash
# Usage: statements.sh DOC TESTS      Every numbered statement of the exit contract has a test of its number (sN_M_name), or a
#                                     line with a reason in TESTS/untested.txt; and no test names a statement that is not there.
set -eu
doc=$1 tests=$2
bad=0
complain() {
    echo "statements: $*"
    bad=1
}

stated=$(grep -oE '^[0-9]+\.[0-9]+ ' "$doc" | tr -d ' ')
tested=$(grep -hoE '(CASE\(|STREAM\(")s[0-9]+_[0-9]+_' "$tests"/*.c | grep -oE '[0-9]+_[0-9]+' | tr _ . | sort -u)
excused=$(sed -nE 's/^([0-9]+\.[0-9]+): .+/\1/p' "$tests/untested.txt")
[ -n "$stated" ] || complain "no statement found in $doc"

for s in $stated; do
    if grep -qxF "$s" <<<"$tested"; then
        ! grep -qxF "$s" <<<"$excused" || complain "$s has a test: take it out of untested.txt"
    elif ! grep -qxF "$s" <<<"$excused"; then
        complain "$s has neither a test nor a reason in untested.txt"
    fi
done
for s in $tested $excused; do
    grep -qxF "$s" <<<"$stated" || complain "$s is named, but the contract has no such statement"
done
count() {
    grep -c . <<<"$1" || true
}
echo "statements: $(count "$stated") stated, $(count "$tested") with tests, $(count "$excused") excused"
exit $bad
