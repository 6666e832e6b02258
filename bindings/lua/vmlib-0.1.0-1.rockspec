package = "vmlib"
version = "0.1.0-1"
source = { url = "git+file://." } -- built from the source tree: luarocks make
description = {
   summary = "Virtual machines from Lua: bindings of libvmlib",
   license = "MIT",
}
dependencies = { "lua ~> 5.4" }
external_dependencies = {
   VMLIB = { header = "vmlib/vmlib.h", library = "vmlib" },
}
build = {
   type = "builtin",
   modules = {
      vmlib = {
         sources = { "console.c", "handoff.c", "kit.c", "lockstep.c", "machine.c", "module.c", "record.c", "region.c", "run.c",
                     "vcpu.c", "vm.c" },
         defines = { "_GNU_SOURCE" },
         libraries = { "vmlib-devices", "vmlib" },
         incdirs = { "$(VMLIB_INCDIR)" },
         libdirs = { "$(VMLIB_LIBDIR)" },
      },
      vmlib_cdef = "vmlib_cdef.lua", -- for LuaJIT, which needs no compiled part
      vmlib_ffi = "vmlib_ffi.lua",
   },
}
