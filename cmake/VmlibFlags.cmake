# Compiler flags every target of the project shares.
set(CMAKE_C_STANDARD 11)
set(CMAKE_C_STANDARD_REQUIRED ON)
set(CMAKE_C_EXTENSIONS ON) # GNU extensions stand beside a portable path, never alone
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_C_VISIBILITY_PRESET hidden)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
# -O2: guest-visible arithmetic relies on wrap-around only through unsigned types.
set(CMAKE_C_FLAGS_RELEASE "-O2 -g -DNDEBUG")
set(CMAKE_C_FLAGS_DEBUG "-O0 -g")

add_library(vmlib_flags INTERFACE)
target_compile_options(vmlib_flags INTERFACE
    -Wall -Wextra -Wshadow -Wcast-qual -Wstrict-prototypes -Wmissing-prototypes
    -Wpointer-arith -Wvla -Werror -fno-strict-aliasing -fno-common)
target_compile_definitions(vmlib_flags INTERFACE _GNU_SOURCE)

# No unwind tables: nothing unwinds through the library, and they are a sixth of it. Debuggers use .debug_frame.
if(NOT VMLIB_SANITIZE)
    target_compile_options(vmlib_flags INTERFACE -fno-unwind-tables -fno-asynchronous-unwind-tables)
endif()

if(VMLIB_SANITIZE)
    set(CMAKE_C_FLAGS "${CMAKE_C_FLAGS} -fsanitize=${VMLIB_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all")
    set(CMAKE_EXE_LINKER_FLAGS "${CMAKE_EXE_LINKER_FLAGS} -fsanitize=${VMLIB_SANITIZE}")
    set(CMAKE_SHARED_LINKER_FLAGS "${CMAKE_SHARED_LINKER_FLAGS} -fsanitize=${VMLIB_SANITIZE}")
endif()

# GCC's ThreadSanitizer does not model stand-alone fences and says so at each one. Where they are used, both sides
# also have atomic accesses that it does see.
if(VMLIB_SANITIZE MATCHES "thread" AND CMAKE_C_COMPILER_ID STREQUAL "GNU")
    target_compile_options(vmlib_flags INTERFACE -Wno-tsan)
endif()
