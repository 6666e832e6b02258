-- Scripts that do the wrong thing at the worst moment: everything is an error, nothing is a crash. Most of what these tests
-- could break only an address sanitizer or tests/poison.c sees: they run under those, too.
package.path = arg[0]:match("(.*/)") .. "?.lua;" .. package.path
local vmlib = require "vmlib"
local backend = require "backend"
local equal, fails = backend.equal, backend.fails

local tests = {}
local sector = "\xb0A\xba\xf8\x03\xee\xb0\x05\xe6\xf4\xf4"
sector = sector .. ("\0"):rep(510 - #sector) .. "\x55\xaa"

local function world(code)
    local vm = vmlib.vm{backends = backend.name}
    vm:memory(0, 0x10000)
    vm:write(0x1000, code or "\xeb\xfe")
    local vcpu = vm:vcpu()
    vcpu:set{cs = vmlib.Segment{limit = 0xffff, attributes = 0x9b}, rip = 0x1000, rsp = 0x8000}
    return vm, vcpu
end

local function pc(options)
    local machine = vmlib.machine(vmlib.vm{backends = backend.name}, options)
    machine:add_ram(1 << 20)
    local vcpu = machine:add_vcpu()
    machine:boot(sector)
    return machine, vcpu
end

-- A table of options that closes something when it is read.
local function evil(close, values)
    return setmetatable({}, {__index = function(_, name)
        close()
        collectgarbage()
        return values and values[name]
    end})
end

-- A finalizer closes the object of a call: `use` runs many times, with a trap that goes off somewhere in it.
local function with_traps(prepare, use)
    for _ = 1, 40 do
        local thing, close = prepare()
        setmetatable({}, {__gc = function() pcall(close) end})
        collectgarbage("step")
        pcall(use, thing)
        collectgarbage()
    end
end

function tests.options_that_close()
    local vm, vcpu = world()
    fails(vmlib.E_INVAL, vm.memory, vm, 0x20000, 0x1000, evil(function() vm:close() end))
    vm = world()
    assert(not pcall(vm.vcpu, vm, 1, evil(function() vm:close() end)))
    vm = world()
    assert(not pcall(vm.doorbell, vm, 0, 1, print, evil(function() vm:close() end)))
    vm = world()
    assert(not pcall(vmlib.machine, vm, evil(function() vm:close() end)))
    vm = world()
    assert(not pcall(vmlib.ring, vm, evil(function() vm:close() end)))
    vm = world()
    local ring = vmlib.ring(vm)
    fails(vmlib.E_STATE, ring.watch, ring, vmlib.HANDLER_PIO, 1, 2, evil(function() ring:close() end))
    local machine = vmlib.machine((world()))
    assert(not pcall(machine.boot, machine, sector, evil(function() machine:close() end)))
    machine = pc()
    assert(not pcall(machine.add_disk, machine, "/dev/null", evil(function() machine:close() end)))
    vm, vcpu = world()
    pcall(vcpu.run, vcpu, evil(function() vm:close() end, {deadline_ns = 1000}))
    pcall(vcpu.call, vcpu, 0, evil(function() vm:close() end))
end

function tests.strings_from_metamethods()
    -- Each string exists only while it is read, and memory is reused at once.
    local options = setmetatable({}, {__index = function(_, name)
        collectgarbage()
        if name == "modules" then
            local list = {}
            for i = 1, 20 do
                list[i] = setmetatable({}, {__index = function(_, key)
                    collectgarbage()
                    return key .. ("x"):rep(5000) .. i
                end})
            end
            return list
        end
        if name == "cmdline" or name == "initrd" then return name .. ("y"):rep(100000) end
    end})
    local vm = vmlib.vm{backends = backend.name}
    vm:memory(0, 16 << 20)
    local kernel = ("\0"):rep(0x1000)
    pcall(vmlib.boot_load, vm:vcpu(), kernel, options)
    assert(not pcall(vmlib.boot_load, vm:find_vcpu(0), kernel, {modules = {{}, 3}}))
    assert(not pcall(vmlib.boot_load, vm:find_vcpu(0), kernel, {memory = {3}}))
    assert(not pcall(vmlib.boot_load, vm:find_vcpu(0), kernel, {cmdline = 3}))
end

function tests.finalizers_that_close()
    collectgarbage("incremental", 10, 1000, 6)
    with_traps(function()
        local vm, vcpu = world("\xe6\x10\xe6\x11\xf4")
        local ring = vmlib.ring(vm, {capacity = 4})
        ring:watch(vmlib.HANDLER_PIO, 0x10, 0x1f)
        vcpu:run()
        return ring, function() ring:close() end
    end, function(ring)
        for _ = 1, 20 do ring:take() end
        ring:each(function() return {} end)
    end)
    with_traps(function()
        local machine, vcpu = pc{serial = function(text) return text .. text end}
        return {machine, vcpu}, function() machine:close() end
    end, function(things)
        things[1]:ram()
        things[1]:memory_map()
        things[1]:run_vcpu(things[2])
        things[1]:stats()
    end)
    with_traps(function()
        local vm, vcpu = world("\xe4\x10\xf4")
        vm:on_port(0x10, function() return 5, {} end)
        return {vm, vcpu}, function() vm:close() end
    end, function(things)
        local vm, vcpu = table.unpack(things)
        vcpu:cpuid()
        vcpu:get_state():copy()
        vcpu:run()
        vm:read(0, 0x10000)
        vm:memory(0x20000, 0x1000)
        vm:vcpu(1)
    end)
    with_traps(function()
        local _, a = world("\xe4\x10\xf4")
        local _, b = world("\xe4\x10\xf4")
        b.rbx = 5
        local lockstep = vmlib.lockstep(a, b, {exit = function() return 5, {} end})
        return lockstep, function() lockstep:close() end
    end, function(lockstep)
        lockstep:run()
        lockstep:differences()
        lockstep:report()
    end)
    collectgarbage("generational")
    collectgarbage("incremental", 200, 100, 13)
end

function tests.callbacks_that_close()
    local vm, vcpu = world("\xe6\x10\xe6\x10\xf4")
    local ring, region = vmlib.ring(vm), vm:memory(0x20000, 0x1000)
    ring:watch(vmlib.HANDLER_PIO, 0x20)
    local mine, other
    mine = vm:on_port(0x10, function(_, exit)
        fails(vmlib.E_BUSY, vm.close, vm)
        mine:remove()
        other:remove()
        ring:close()
        region:remove()
        collectgarbage()
        return exit.value and nil
    end)
    other = vm:on_port(0x11, print)
    equal(vcpu:run().name, "pio") -- it has removed itself
    local machine, boot
    machine, boot = pc{serial = function()
        fails(vmlib.E_BUSY, machine.close, machine)
        collectgarbage()
    end}
    machine:run_vcpu(boot)
    local vms = {}
    local function log()
        for _, each in ipairs(vms) do each:close() end
        collectgarbage()
    end
    vms[1] = vmlib.vm{log = log}
    vms[2] = vmlib.vm{log = log}
    fails(vmlib.E_STATE, vms[1].vcpu, vms[1])
end

function tests.console_of_two_machines()
    local console = vmlib.console()
    local first = pc{serial = console}
    fails(vmlib.E_STATE, vmlib.machine, vmlib.vm(), {serial = console})
    local other, vcpu = pc()
    fails(vmlib.E_STATE, other.add_console, other, console)
    fails(vmlib.E_STATE, console.start, console, other, {vcpu})
    first:close() -- not started: free again
    local second, boot = pc{serial = console}
    console:start(second, {boot})
    console:close()
    fails(vmlib.E_STATE, vmlib.machine, vmlib.vm(), {serial = console})
    second:close()
end

function tests.errors_of_all_kinds()
    for _, value in ipairs{{}, 3, "text", print, io.stdout} do
        local vm, vcpu = world("\xe6\x10\xf4")
        vm:on_port(0x10, function() error(value) end)
        local ok, e = pcall(vcpu.run, vcpu)
        assert(not ok and (e == value or type(value) == "string" or type(value) == "number"))
    end
    local vm, vcpu = world("\xe6\x10\xf4")
    vm:on_port(0x10, function() error() end)
    assert(not pcall(vcpu.run, vcpu))
    vm, vcpu = world("\xe6\x10\xf4")
    local function forever() return 1 + forever() end
    vm:on_port(0x10, forever)
    fails("stack overflow", vcpu.run, vcpu)
    local function build(depth)
        local vm, vcpu = world("\xe6\x10\xf4")
        vm:on_port(0x10, function()
            if depth == 0 then error("bottom") end
            build(depth - 1):run()
        end)
        return vcpu
    end
    fails("bottom", function() build(12):run() end)
end

function tests.methods_of_others()
    local vm, vcpu = world()
    local things = {vm, vcpu, vm:memory(0x20000, 0x1000), vmlib.buffer(16), vmlib.ring(vm), vmlib.console(), vcpu.cs,
                    vm:on_port(1, print), io.stdout, {}, "text", 3, print}
    for _, thing in ipairs(things) do
        local meta = type(thing) == "userdata" and debug.getmetatable(thing).__index
        for name, method in pairs(type(meta) == "table" and meta or {}) do
            for _, victim in ipairs(things) do
                if victim ~= thing and type(method) == "function" and not (thing == io.stdout or victim == io.stdout) then
                    pcall(method, victim, 1, 2, 3)
                    pcall(method)
                end
            end
        end
    end
    fails("got no value", vcpu.run)
end

function tests.the_interpreter_ends()
    kept = {world()} -- a global: collected by the end of the state
    kept[3] = vmlib.console()
    local machine, vcpu = pc{serial = kept[3]}
    kept[4], kept[5] = machine, vcpu
    kept[3]:start(machine, {vcpu})
    setmetatable(kept, {__gc = function(k) pcall(k[2].run, k[2], {deadline_ns = 1000}) pcall(k[1].close, k[1]) end})
end

backend.run(tests)
