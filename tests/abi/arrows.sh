#!/bin/sh
# A wrong arrow must not compile: each folder sees what the architecture allows, and nothing else.
set -eu
failed=0
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
try() { # FOLDER HEADER -> does it compile there?
    printf '#include "%s"\n' "$2" >"$dir/t.c"
    "${CC:-cc}" -std=gnu11 -D_GNU_SOURCE -I"$BUILD/arrows/$1" -fsyntax-only "$dir/t.c" 2>/dev/null
}
forbidden() {
    if try "$1" "$2"; then
        echo "$1 can include $2"
        failed=1
    fi
}
allowed() {
    if ! try "$1" "$2"; then
        echo "$1 cannot include $2"
        failed=1
    fi
}
allowed vmlib_core backend.h
allowed vmlib_core base/checked.h
allowed vmlib_mock backend.h
allowed vmlib_mock vmlib/mock.h
forbidden vmlib_base backend.h
forbidden vmlib_base core/internal.h
forbidden vmlib_base x86/cpu.h
forbidden vmlib_core mock/mock.h
forbidden vmlib_core soft/soft.h
forbidden vmlib_mock core/internal.h
forbidden vmlib_mock soft/soft.h
allowed vmi_x86 x86/cpu.h
forbidden vmi_x86 backend.h
forbidden vmi_x86 vmlib/vmlib.h
forbidden vmi_x86 core/internal.h
allowed vmi_kit vmlib/lockstep.h
forbidden vmi_kit core/internal.h
forbidden vmi_kit x86/cpu.h
forbidden vmi_kit devices/machine.h
if [ "${SOFT:-OFF}" = ON ]; then
    allowed vmi_soft x86/cpu.h
    forbidden vmi_state core/internal.h
    forbidden vmi_state soft/soft.h
    forbidden vmi_soft core/internal.h
    forbidden vmi_soft mock/mock.h
fi
exit $failed
