-- Tests of the tools: event ring, guest calls, console. Arguments: folders of the guests and the examples' guests.
package.path = arg[0]:match("(.*/)") .. "?.lua;" .. package.path
local vmlib = require "vmlib"
local backend = require "backend"
local fails = backend.fails
local guests, units = arg[1], arg[2]

local function read(path)
    local file = assert(io.open(path, "rb"))
    local data = file:read("a")
    file:close()
    return data
end

local function world(code)
    local vm = vmlib.vm{backends = backend.name}
    vm:memory(0, 0x10000)
    vm:write(0x1000, code)
    local vcpu = vm:vcpu()
    local cs = vcpu.cs
    cs.base, cs.selector = 0, 0
    vcpu.cs, vcpu.rip = cs, 0x1000
    return vm, vcpu
end

-- ring
local three = "\xe4\x10\xe6\x11\xe7\x12\xf4"
local vm, vcpu = world(three)
local ring = vmlib.ring(vm, {capacity = 2})
ring:watch(vmlib.HANDLER_PIO, 0x10, 0x1f, {answer = 0x1234})
assert(vcpu:run().name == "stopped")
local seen = {}
assert(ring:each(function(...) seen[#seen + 1] = {...} end) == 2)
assert(seen[1][1] == 0x10 and seen[1][2] == 0x34 and seen[1][3] == false and seen[2][3] == true)
fails(vmlib.E_INVAL, vmlib.ring, vm, {capacity = 3})
assert(vcpu:run().name == "hlt")
local address, value, _, kind, width, write = vmlib.RING_FORMAT:unpack(ring:take())
assert(address == 0x12 and value == 0x34 and width == 2 and write == 1)
ring:close()
fails(vmlib.E_STATE, ring.take, ring)
vm, vcpu = world(three)
ring = vmlib.ring(vm, {capacity = 1, drop = true})
ring:watch(vmlib.HANDLER_PIO, 0x10, 0x1f)
assert(vcpu:run().name == "hlt" and ring:lost() == 2)
fails("closed", ring.each, ring, function() ring:close() end)

-- calls
local exact = backend.has("calls with a budget", vmlib.FEATURE_BUDGET, vmlib.FEATURE_EXCEPTION_EXITS)
for _, name in ipairs{"units", "units32"} do
    local elf = read(units .. "/" .. name)
    local vm = vmlib.vm{backends = backend.name}
    vm:memory(0, 2 << 20)
    local vcpu = vm:vcpu()
    vmlib.boot_load(vcpu, elf)
    local function call(name, ...)
        local limits = exact and {stack = 0x80000}
            or {stack = 0x80000, budget = 0, exceptions = 0, deadline_ns = 10000000}
        return vcpu:call(vmlib.elf_symbol(elf, name), limits, ...)
    end
    local r = call("crc32", "123456789", 9)
    assert(r["end"] == vmlib.CALL_RETURNED and r.value & 0xffffffff == 0xcbf43926)
    local _, word = call("reverse", "drawer", 6)
    assert(word == "reward")
    if exact then assert(call("divide", 1, 0).exit.exception.event.vector == 0) end
    assert(call("weigh", 1, 2, 3, 4, 5, 6, 7, 8).value & 0xffffffff == 204)
    assert(call("forever")["end"] == vmlib.CALL_LIMIT)
    if name == "units" then assert(vmlib.double(call("average", 1.5, 4.5).xmm0) == 3.0) end
    fails("expected an integer", call, "weigh", {})
    fails("too many", call, "weigh", table.unpack({1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17}))
    fails(vmlib.E_NOTFOUND, vmlib.elf_symbol, elf, "nothing")
    fails(vmlib.E_INVAL, vmlib.elf_symbol, "short", "crc32")
end

-- console
local function machine(options)
    local console = vmlib.console(options)
    local machine = vmlib.machine(vmlib.vm{backends = backend.name}, {serial = console})
    machine:add_ram(1 << 20)
    local vcpu = machine:add_vcpu()
    machine:boot(read(guests .. "/prompt"))
    return console, machine, vcpu
end

do
    local console <close>, pc, vcpu = machine()
    fails(vmlib.E_STATE, console.send, console, "x")
    console:start(pc, {vcpu})
    fails(vmlib.E_STATE, console.start, console, pc, {vcpu})
    assert(console:expect({"password", "name? "}, 60) == 2)
    fails(vmlib.E_LIMIT, console.expect, console, "never", 0.01)
    fails(vmlib.E_BUSY, pc.close, pc)
    fails(vmlib.E_BUSY, vcpu.registers, vcpu)
    fails(vmlib.E_BUSY, vcpu.run, vcpu)
    assert(vcpu:generation() > 0)
    console:send("Ada\n")
    local _, before = console:expect("!", 60)
    assert(before == "hello, Ada", before)
    local result = console:wait(60)
    assert(result["end"] == vmlib.MACHINE_DEBUG_EXIT and result.value == 0x12)
    fails(vmlib.E_NOTFOUND, console.expect, console, "more")
end
for i = 1, 8 do -- garbage in any order, threads running
    local console, pc, vcpu = machine()
    console:start(pc, {vcpu})
    if i % 2 == 0 then console:expect("name? ", 60) end
    if i % 4 < 2 then pc = nil else console = nil end
    collectgarbage()
    console, pc, vcpu = nil, nil, nil
    collectgarbage()
    collectgarbage()
end
local console, pc, vcpu = machine()
pc = vmlib.machine(vmlib.vm{backends = backend.name}, {serial = print})
pc:add_ram(1 << 20)
vcpu = pc:add_vcpu()
fails(vmlib.E_UNSUPPORTED, console.start, console, pc, {vcpu})
fails(vmlib.E_INVAL, vmlib.console, {limit = 1})
fails("vmlib.Machine expected", console.start, console, 3, {})
fails("function or a console", vmlib.machine, vmlib.vm{backends = backend.name}, {serial = 3})
console, pc, vcpu = machine()
console:start(pc, {vcpu}) -- and the interpreter ends
print("passed")
