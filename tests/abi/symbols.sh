#!/bin/sh
# The library's manners, seen from its symbols: names, no writable globals, no calls that a library must not make.
set -eu
failed=0
complain() {
    if [ -n "$2" ]; then
        printf '%s:\n%s\n' "$1" "$2"
        failed=1
    fi
}
complain "exported without vmlib_" \
    "$(nm -D --defined-only "$SHARED" | awk '$2 != "A" && $3 !~ /^vmlib_/ { print $3 }')"

# Declared in the public headers of the library itself = exported.
declared=$(cat include/vmlib/*.h | tr '\n' ' ' | grep -oE 'VMLIB_API[^;]*' | grep -oE 'vmlib_[a-z0-9_]+\(' | tr -d '(' | sort -u)
exported=$(nm -D --defined-only "$SHARED" | sed -n 's/.* \(vmlib_[a-z0-9_]*\)@.*/\1/p' | sort -u)
printf '%s\n' "$exported" >"$BUILD/exported.txt"
complain "exported but not declared in a header" "$(printf '%s\n' "$declared" | grep -vxFf - "$BUILD/exported.txt" || true)"

# Neither does the archive get into the host program's way.
complain "global in the archive without vmlib_" \
    "$(nm --defined-only -g "$STATIC" 2>/dev/null | awk 'NF == 3 && $3 !~ /^vmlib_/ { print $3 }' | sort -u)"

if [ -z "${SANITIZE:-}" ]; then
    # b, d, s, g, c: writable data. Thread-local data is recognised by its section.
    complain "writable globals (only the thread-local error text is allowed)" \
        "$(objdump -t "$STATIC" 2>/dev/null | awk '$4 ~ /^\.(data|bss|sdata|sbss|tm_clone)/ && $4 !~ /\.rel\.ro/ && $3 == "O" { print $4, $6 }
            $3 ~ /^\.(data|bss)/ && $2 ~ /O/ && $3 !~ /\.rel\.ro/ { print $3, $NF }' | sort -u)"
    complain "functions that a library must not call" \
        "$(nm -u "$STATIC" 2>/dev/null | awk '{ print $2 }' |
            grep -xE '(exit|_exit|_Exit|abort|quick_exit|atexit|getenv|secure_getenv|setenv|signal|sigaction|raise|kill|printf|puts|putchar|vprintf|fprintf|vfprintf|perror|stdout|stderr|stdin|system|fork|setlocale|__assert_fail|__printf_chk|__fprintf_chk)' | sort -u)"
fi
exit $failed
