-- Tests of the LuaJIT module.
local vmlib = require "vmlib_ffi"
local ffi = require "ffi"

local vm = vmlib.vm({ backends = { vmlib.BACKEND_SOFT } })
local ram = vmlib.region(vm, 0, 0x10000)
-- in al, 0x60; out 0x61, al; hlt
ram:write(0x1000, "\228\96\230\97\244")
assert(ram:read(0x1000, 1) == "\228")
assert(not pcall(ram.read, ram, 0xffff, 2))
local vcpu = vmlib.vcpu(vm)
local cs = vmlib.get_segment(vcpu, vmlib.REG_CS)
cs.base, cs.selector = 0, 0
vmlib.set_segment(vcpu, vmlib.REG_CS, cs)
vmlib.set(vcpu, vmlib.REG_RIP, 0x1000)

local calls = 0
local handle, callback = vmlib.handler(vm, vmlib.HANDLER_PIO, 0x60, 0x60, function(_, exit)
    calls = calls + 1
    if calls == 1 then error("first") end
    exit.u.pio.value = 0x5a
end)
local ok, e = pcall(vmlib.run, vcpu)
assert(not ok and tostring(e):find("first"), e)
local exit = vmlib.run(vcpu)
assert(exit.reason == vmlib.EXIT_PIO and exit.u.pio.port == 0x61 and exit.u.pio.value == 0x5a)
assert(ffi.string(vmlib.C.vmlib_exit_name(exit.reason)) == "pio")
exit = vmlib.run(vcpu, { budget = 10 })
assert(exit.reason == vmlib.EXIT_HLT and exit.rip == 0x1005ULL)
assert(vmlib.get(vcpu, vmlib.REG_RAX) == 0x5aULL)
vmlib.free_handler(handle, callback)

ok, e = pcall(vmlib.region, vm, 0, 0x1000)
assert(not ok and #e > 20)
ok, e = pcall(vmlib.vm, { colour = 1 })
assert(not ok)
local format = ffi.new("uint32_t[1]")
assert(vmlib.devices.vmlib_boot_detect("x", 1, format) == 0)

-- Struct layout: what the declarations say is what the library has, or size checks would have failed.
local state = vmlib.new("vmlib_state")
vmlib.check(vmlib.C.vmlib_vcpu_get_state(vcpu, vmlib.STATE_ALL, state))
assert(state.gpr.rax == 0x5aULL and vmlib.EVENT_EXCEPTION == 3)
handle, callback, vm, vcpu, ram = nil, nil, nil, nil, nil
collectgarbage()
print("passed")
