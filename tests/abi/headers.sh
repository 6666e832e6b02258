#!/bin/sh
# Every public header compiles alone, as C11 and as C++17, without a warning.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
failed=0
have_cxx=1
command -v g++ >/dev/null || { have_cxx=0; echo "SKIP: no g++ for the C++17 half"; }
for header in $(cd include && find vmlib -name '*.h' | sort); do
    printf '#include <%s>\n#include <%s>\n' "$header" "$header" >"$dir/t.c"
    cp "$dir/t.c" "$dir/t.cpp"
    "${CC:-cc}" -std=c11 -Wall -Wextra -Wpedantic -Werror -Iinclude -fsyntax-only "$dir/t.c" || failed=1
    if [ $have_cxx = 1 ]; then
        g++ -std=c++17 -Wall -Wextra -Wpedantic -Werror -Iinclude -fsyntax-only "$dir/t.cpp" || failed=1
    fi
    # Public headers see C standard headers and each other.
    if grep -nE '^ *# *include' "include/$header" | grep -vE '<(vmlib/[a-z0-9_/]+|stdint|stddef|stdbool)\.h>'; then
        echo "include/$header: includes more than the public headers and the C standard library"
        failed=1
    fi
    # Doxygen accepts constants without a comment; functions need one.
    if ! awk '/^VMLIB_API/ && last !~ /\*\/[ \t]*$/ { print FILENAME ": undocumented: " $0; bad = 1 }
              { last = $0 } END { exit bad }' "include/$header"; then
        failed=1
    fi
done
[ $have_cxx = 1 ] || [ $failed = 1 ] || exit 77
exit $failed
