-- libvmlib for LuaJIT, without a compiled part: the C API through FFI, with objects that collect themselves.
--
--     local vmlib = require "vmlib_ffi"
--     local vm = vmlib.vm()
--     local ram = vmlib.region(vm, 0, 0x10000)
--     ram.bytes[0x1000] = 0xf4
--     local vcpu = vmlib.vcpu(vm)
--     local exit = vmlib.run(vcpu)      -- ctype struct vmlib_exit
--
-- vmlib.C and vmlib.devices are the libraries; every function of the C API is there (vmlib.C.vmlib_vcpu_nmi(vcpu)).
-- vmlib.check(code) turns an error code into a Lua error. Constants are fields (vmlib.EXIT_HLT).
local ffi = require "ffi"
local generated = require "vmlib_cdef"
ffi.cdef(generated.cdef)

local C = ffi.load(os.getenv("VMLIB_LIBRARY") or "libvmlib.so.0")
local M = { C = C }
for name, value in pairs(generated.constants) do M[name] = value end

-- libvmlib-devices is only needed by those who use it.
setmetatable(M, { __index = function(_, name)
    if name ~= "devices" then return nil end
    M.devices = ffi.load(os.getenv("VMLIB_DEVICES_LIBRARY") or "libvmlib-devices.so.0")
    return M.devices
end })

--- Raise the library's detail text when code is negative; otherwise return it.
function M.check(code)
    if code >= 0 then return code end
    error(("%s (%s)"):format(ffi.string(C.vmlib_last_error()), ffi.string(C.vmlib_strerror(code))), 2)
end

--- A zeroed struct with its size set: new("vmlib_vm_config", {seed = 1}).
function M.new(name, members)
    local struct = ffi.new("struct " .. name)
    pcall(function() struct.size = ffi.sizeof(struct) end) -- some have none
    for key, value in pairs(members or {}) do struct[key] = value end
    return struct
end

--- Create a VM. members: of struct vmlib_vm_config.
function M.vm(members)
    local out = ffi.new("vmlib_vm *[1]")
    M.check(C.vmlib_vm_create(M.new("vmlib_vm_config", members), out))
    return ffi.gc(out[0], C.vmlib_vm_unref)
end

local Region = {}
Region.__index = Region

--- Put memory into a VM: an object with handle, size, and bytes, a pointer to the memory itself.
function M.region(vm, gpa, size, members)
    local config = M.new("vmlib_region_config", members)
    local out, host = ffi.new("vmlib_region *[1]"), ffi.new("void *[1]")
    if not (members and members.prot) then config.prot = M.PROT_RWX end
    if not (members and members.fd) then config.fd = -1 end
    config.gpa, config.bytes = gpa, size
    M.check(C.vmlib_region_create(vm, config, out))
    local handle = ffi.gc(out[0], C.vmlib_region_unref)
    M.check(C.vmlib_region_host(handle, host))
    return setmetatable({ handle = handle, size = size, bytes = ffi.cast("uint8_t *", host[0]) }, Region)
end

--- Copy a string to the region, and tell the library.
function Region:write(offset, data)
    assert(offset >= 0 and offset + #data <= self.size, "offset + size is outside the region")
    ffi.copy(self.bytes + offset, data, #data)
    M.check(C.vmlib_region_written(self.handle, offset, #data))
end

--- Copy from the region.
function Region:read(offset, size)
    assert(offset >= 0 and size >= 0 and offset + size <= self.size, "offset + size is outside the region")
    return ffi.string(self.bytes + offset, size)
end

--- Create a vCPU. members: of struct vmlib_vcpu_config.
function M.vcpu(vm, members)
    local config, out = M.new("vmlib_vcpu_config", members), ffi.new("vmlib_vcpu *[1]")
    if not (members and members.apic_id) then config.apic_id = M.APIC_ID_INDEX end
    M.check(C.vmlib_vcpu_create(vm, config, out))
    return ffi.gc(out[0], C.vmlib_vcpu_unref)
end

--- Read a register (REG_ constant) as uint64_t.
function M.get(vcpu, reg)
    local out = ffi.new("uint64_t[1]")
    M.check(C.vmlib_vcpu_get_reg(vcpu, reg, out))
    return out[0]
end

--- Change a register.
function M.set(vcpu, reg, value)
    M.check(C.vmlib_vcpu_set_reg(vcpu, reg, value))
end

--- Read a segment register as struct vmlib_segment.
function M.get_segment(vcpu, reg)
    local segment = ffi.new("struct vmlib_segment")
    M.check(C.vmlib_vcpu_get_reg_wide(vcpu, reg, segment, ffi.sizeof(segment)))
    return segment
end

--- Change a segment register.
function M.set_segment(vcpu, reg, segment)
    M.check(C.vmlib_vcpu_set_reg_wide(vcpu, reg, segment, ffi.sizeof(segment)))
end

--- Run; members: of struct vmlib_run_args. Returns a new struct vmlib_exit, or fills `exit`. Never compiled:
--- callbacks out of compiled code are not possible.
function M.run(vcpu, members, exit)
    exit = exit or M.new("vmlib_exit")
    local code = C.vmlib_vcpu_run(vcpu, members and M.new("vmlib_run_args", members) or nil, exit)
    local pending = M.pending
    M.pending = nil
    if pending then error(pending, 0) end
    M.check(code)
    return exit
end
jit.off(M.run)

--- Register a handler: f(vcpu, exit) returns HANDLED, PASS, INJECT or STOP (nothing: HANDLED). An error comes out of
--- run(). Returns the handle and the callback; the handler works until free_handler() with both.
function M.handler(vm, kind, first, last, f)
    local callback = ffi.cast("vmlib_handler_fn", function(_, vcpu, exit)
        local ok, answer = pcall(f, vcpu, exit)
        if ok then return answer or M.HANDLED end
        M.pending = answer
        return M.E_USER
    end)
    local config, out = M.new("vmlib_handler_config"), ffi.new("vmlib_handler *[1]")
    config.kind, config.first, config.last, config.fn = kind, first, last, callback
    local code = C.vmlib_handler_add(vm, config, out)
    if code < 0 then
        callback:free()
        M.check(code)
    end
    return out[0], callback
end

--- Take a handler out of service and give its callback back; not while a run uses it.
function M.free_handler(handle, callback)
    local code = C.vmlib_handler_remove(handle)
    C.vmlib_handler_unref(handle)
    callback:free()
    M.check(code)
end

return M
