#!/bin/sh
# What is installed can be used: by pkg-config, by find_package() and by the static library.
set -eu
if [ -n "${SANITIZE:-}" ]; then
    echo "SKIP: an installed library has no sanitizer"
    exit 77
fi
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cmake --install "$BUILD" --prefix "$dir/usr" >"$dir/log" 2>&1 || { cat "$dir/log"; exit 1; }
cat >"$dir/t.c" <<'END'
#include <vmlib/vmlib.h>
int main(void)
{
    vmlib_vm *vm = NULL;
    struct vmlib_vm_config config = VMLIB_VM_CONFIG_INIT;
    config.backends[0] = VMLIB_BACKEND_MOCK;
    int rc = vmlib_vm_create(&config, &vm);
    vmlib_vm_unref(vm);
    return rc != 0 || vmlib_version() != VMLIB_VERSION;
}
END
mkdir "$dir/p"
cat >"$dir/p/CMakeLists.txt" <<'END'
cmake_minimum_required(VERSION 3.22)
project(p C)
find_package(vmlib 0.1 REQUIRED)
foreach(kind vmlib static)
    add_executable(t_${kind} ../t.c)
    target_link_libraries(t_${kind} PRIVATE vmlib::${kind})
endforeach()
END
cmake -G Ninja -S "$dir/p" -B "$dir/p/b" -DCMAKE_PREFIX_PATH="$dir/usr" >"$dir/log" 2>&1 &&
    cmake --build "$dir/p/b" >>"$dir/log" 2>&1 || { cat "$dir/log"; exit 1; }
"$dir/p/b/t_vmlib"
"$dir/p/b/t_static"
if command -v pkg-config >/dev/null; then
    libdir=$(dirname "$(find "$dir/usr" -name 'libvmlib.so')")
    export PKG_CONFIG_PATH="$libdir/pkgconfig"
    # shellcheck disable=SC2046
    "${CC:-cc}" "$dir/t.c" -o "$dir/t" $(pkg-config --cflags --libs vmlib)
    LD_LIBRARY_PATH=$libdir "$dir/t"
fi
