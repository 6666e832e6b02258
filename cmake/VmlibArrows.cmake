# Makes a wrong dependency fail to compile.
#
# A folder's sources see exactly one private include directory. It holds links to the folders (or single
# headers) that the architecture allows, so `#include "core/vm.h"` in a backend is "file not found".
#
#   vmlib_arrows(TARGET NAME=PATH...)   PATH is relative to the top of the source tree
function(vmlib_arrows target)
    set(dir "${CMAKE_BINARY_DIR}/arrows/${target}")
    file(REMOVE_RECURSE "${dir}")
    file(MAKE_DIRECTORY "${dir}")
    foreach(arrow IN LISTS ARGN)
        string(REPLACE "=" ";" pair "${arrow}")
        list(GET pair 0 name)
        list(GET pair 1 path)
        get_filename_component(parent "${dir}/${name}" DIRECTORY)
        file(MAKE_DIRECTORY "${parent}")
        file(CREATE_LINK "${CMAKE_SOURCE_DIR}/${path}" "${dir}/${name}" SYMBOLIC)
    endforeach()
    target_include_directories(${target} PRIVATE "${dir}")
    target_link_libraries(${target} PRIVATE vmlib_flags)
endfunction()

# One folder of the library proper: an object library whose objects libvmlib is linked from.
#   vmlib_folder(NAME SOURCES file... ARROWS NAME=PATH...)
function(vmlib_folder name)
    cmake_parse_arguments(arg "" "" "SOURCES;ARROWS" ${ARGN})
    add_library(${name} OBJECT ${arg_SOURCES})
    vmlib_arrows(${name} ${arg_ARROWS})
    set_property(GLOBAL APPEND PROPERTY VMLIB_FOLDERS ${name})
endfunction()
