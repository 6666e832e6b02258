-- Tests of what takes two VMs: lockstep, hand-off, machines that move; of memory of the script, messages and the choice
-- of a backend. One of two VMs is of the backend under test, the other one soft.
package.path = arg[0]:match("(.*/)") .. "?.lua;" .. package.path
local vmlib = require "vmlib"
local backend = require "backend"
local equal, fails = backend.equal, backend.fails

local tests = {}
-- mov cx, 3; next: in al, 0x60; add bx, ax; out 0x61, al; loop next; hlt
local ADD = "\xb9\x03\x00\xe4\x60\x01\xc3\xe6\x61\xe2\xf8\xf4"

local function side(name, code)
    local vm = vmlib.vm{backends = name}
    local ram = vm:memory(0, 0x10000, {flags = vmlib.REGION_DIRTY_LOG})
    local vcpu = vm:vcpu()
    if code then
        vm:write(0x1000, code)
        vcpu:set{cs = vmlib.Segment{limit = 0xffff, attributes = 0x9b}, rip = 0x1000, rsp = 0x8000}
    end
    return {vm = vm, ram = ram, vcpu = vcpu}
end

local function pair(code, options)
    local a, b = side("soft", code), side(backend.name)
    options = options or {}
    options.regions = {{a.ram, b.ram}}
    options.flags = vmlib.LOCKSTEP_COPY
    return a, b, vmlib.lockstep(a.vcpu, b.vcpu, options)
end

local function answer(_, exit)
    if exit.reason == vmlib.EXIT_PIO and not exit.write then return 7 end
end

function tests.lockstep_equal()
    local written = {}
    local a, b, lockstep = pair(ADD, {exit = function(l, exit)
        if exit.name == "pio" and exit.write then written[#written + 1] = exit.value end
        return answer(l, exit)
    end})
    local result = lockstep:run()
    equal(result["end"], vmlib.LOCKSTEP_HALTED)
    equal(result.records, 7)
    equal(table.concat(written, " "), "7 7 7")
    equal(a.vcpu.rbx & 0xff, 21)
    equal(b.vcpu.rbx & 0xff, 21)
    assert(lockstep:report():find("no difference", 1, true))
    equal(#lockstep:differences(), 0)
    lockstep:close()
    lockstep:close()
    fails(vmlib.E_STATE, lockstep.run, lockstep)
end

function tests.lockstep_difference()
    local a, b, lockstep = pair(ADD, {exit = answer})
    equal(lockstep:run(1)["end"], vmlib.LOCKSTEP_LIMIT)
    b.vcpu.rbx = a.vcpu.rbx ~ 0x10
    b.vm:write(0x5000, "wrong")
    equal(lockstep:run()["end"], vmlib.LOCKSTEP_DIFFERENCE)
    local names = {}
    for _, d in ipairs(lockstep:differences()) do names[d.name] = d end
    assert(names.rbx and names.rbx.kind == vmlib.LOCKSTEP_REGISTER)
    fails(vmlib.E_STATE, lockstep.run, lockstep)
end

function tests.lockstep_mask()
    if not backend.has("lockstep_mask", vmlib.FEATURE_SINGLE_STEP) then return end
    local count = 0
    local a, b, lockstep = pair(ADD, {exit = answer, grain = vmlib.LOCKSTEP_INSN, mask = function(insn, mask, before)
        count = count + 1
        if before then equal(before.gpr.rip, insn.rip) end
        mask.gpr = mask.gpr | 1 << 3
        mask.rflags = mask.rflags | 0x8d5
    end})
    lockstep:run(2)
    b.vcpu.rbx = 5
    equal(lockstep:run()["end"], vmlib.LOCKSTEP_HALTED)
    equal(a.vcpu.rbx, b.vcpu.rbx)
    assert(count > 5)
end

function tests.lockstep_worst_moments()
    for _, name in ipairs{"exit", "mask"} do
        local options = {exit = answer}
        options[name] = function() error("oops") end
        local _, _, lockstep = pair(ADD, options)
        fails("oops", lockstep.run, lockstep)
    end
    for _, wrong in ipairs{"text", 256, -1, 1.5} do
        local _, _, lockstep = pair(ADD, {exit = function() return wrong end})
        assert(not pcall(lockstep.run, lockstep))
    end
    local a, b, lockstep
    a, b, lockstep = pair(ADD, {exit = function(l, exit)
        for _, name in ipairs{"run", "close", "report", "differences"} do fails(vmlib.E_BUSY, l[name], l) end
        fails(vmlib.E_BUSY, a.vm.close, a.vm)
        fails(vmlib.E_BUSY, b.vm.close, b.vm)
        collectgarbage()
        if exit.name == "hlt" then l:stop() end
        return answer(l, exit)
    end})
    equal(lockstep:run()["end"], vmlib.LOCKSTEP_HALTED)
    equal(lockstep:run()["end"], vmlib.LOCKSTEP_STOPPED)
    a.vm:close()
    fails(vmlib.E_STATE, lockstep.run, lockstep)
    local _, _, other = pair("\xeb\xfe")
    other:stop()
    equal(other:run()["end"], vmlib.LOCKSTEP_STOPPED)
    for _, wrong in ipairs{{}, {a.vcpu}, {b.vcpu, 3}, {b.vcpu, b.vcpu}, {b.vcpu, side("soft").vcpu, {regions = 3}},
                           {b.vcpu, side("soft").vcpu, {regions = {{}}}}, {b.vcpu, side("soft").vcpu, {exit = 3}},
                           {b.vcpu, side("soft").vcpu, {machines = {1, 2}}},
                           {b.vcpu, side("soft").vcpu, {interval = 0}}} do
        assert(not pcall(vmlib.lockstep, table.unpack(wrong)))
    end
end

function tests.hand_off()
    local a, b = side("soft", ADD), side(backend.name)
    local model = vmlib.handoff_cpuid(a.vcpu, b.vcpu)
    a.vcpu:set_cpuid(model)
    b.vcpu:set_cpuid(model)
    local at, other = a, b
    while true do
        local exit = at.vcpu:run()
        if exit.name == "hlt" then break end
        if not exit.write then at.vcpu:complete(7) end
        local moved = vmlib.handoff_vcpu(at.vcpu, other.vcpu)
        if moved.name == "pio" then moved = vmlib.handoff_vcpu(at.vcpu, other.vcpu) end
        equal(moved.reason, vmlib.EXIT_NONE)
        vmlib.handoff_memory(at.ram, other.ram)
        at, other = other, at
    end
    equal(at.vcpu.rbx & 0xff, 21)
    a, b = side("soft", ADD), side("soft")
    a.vcpu:run()
    fails(vmlib.E_STATE, vmlib.handoff_vcpu, a.vcpu, b.vcpu)
    equal(vmlib.handoff_vcpu(a.vcpu, b.vcpu, true).reason, vmlib.EXIT_NONE)
    fails("Region expected", vmlib.handoff_memory, a.vcpu, b.vcpu)
end

function tests.shared_memory()
    local a, other = side("soft"), vmlib.vm{backends = backend.name}
    local shared = a.ram:share(other)
    a.vm:write(0x2000, "both")
    equal(shared:read(0x2000, 4), "both")
    fails(vmlib.E_EXISTS, a.ram.share, a.ram, other)
    local gone = setmetatable({[a.vm] = true}, {__mode = "k"})
    a, shared = nil, nil
    collectgarbage()
    equal(other:read(0x2000, 4), "both") -- the memory stays with the VM that has it
    other = nil
    collectgarbage()
    collectgarbage()
    equal(next(gone), nil)
end

function tests.host_memory()
    local buffer = vmlib.buffer(0x3000)
    equal(#buffer, 0x3000)
    equal(buffer:u64(0x2ff8), 0)
    fails(vmlib.E_RANGE, buffer.u64, buffer, 0x2ff9)
    fails(vmlib.E_RANGE, buffer.read, buffer, 1, 0x3000)
    local a, b = vmlib.vm{backends = backend.name}, vmlib.vm()
    local region = a:memory(0x10000, 0x2000, {host = buffer, offset = 0x1000})
    b:memory(0, 0x3000, {host = buffer})
    a:write(0x10000, "seen by all")
    equal(buffer:read(0x1000, 11), "seen by all")
    equal(b:read(0x1000, 11), "seen by all")
    buffer:write(0x1000, "S")
    region:written(0, 1)
    equal(region:read(0, 1), "S")
    fails(vmlib.E_RANGE, a.memory, a, 0, 0x3000, {host = buffer, offset = 0x1000})
    fails(vmlib.E_RANGE, a.memory, a, 0, 0x1000, {host = buffer, offset = math.mininteger})
    fails(vmlib.E_INVAL, a.memory, a, 0, 0x1000, {host = buffer, offset = 1})
    fails("Region expected", a.memory, a, 0, 0x1000, {host = "string"})
    fails("no region", function() error("no region") end)
    buffer, region = nil, nil -- the VMs hold it
    for _ = 1, 20 do
        vmlib.buffer(0x3000):write(0, ("x"):rep(0x3000))
        collectgarbage()
    end
    equal(a:read(0x10000, 11), "Seen by all")
    equal(b:read(0x1000, 11), "Seen by all")
    a:close()
    b = nil
    collectgarbage()
    do -- a guest runs in it while everything else goes
        local code = vmlib.buffer(0x1000)
        code:write(0, "\xe6\x10\xf4")
        local vm = vmlib.vm{backends = backend.name}
        vm:memory(0x1000, 0x1000, {host = code})
        local vcpu = vm:vcpu()
        vcpu:set{cs = vmlib.Segment{limit = 0xffff, attributes = 0x9b}, rip = 0x1000}
        vm:on_port(0x10, function() code, vm = nil, nil collectgarbage() collectgarbage() end)
        equal(vcpu:run().name, "hlt")
    end
    assert(not pcall(vmlib.buffer, -1))
    assert(not pcall(vmlib.buffer, "x"))
end

-- mov cx, 3; next: in al, 0x60; mov dx, 3f8; out dx, al; loop next; mov al, 5; out 0xf4, al; hlt
local SECTOR = "\xb9\x03\x00\xe4\x60\xba\xf8\x03\xee\xe2\xf8\xb0\x05\xe6\xf4\xf4"
SECTOR = SECTOR .. ("\0"):rep(510 - #SECTOR) .. "\x55\xaa"

local function machine(vm, options)
    local m = vmlib.machine(vm, options)
    m:add_ram(1 << 20)
    local vcpu = m:add_vcpu()
    m:boot(SECTOR)
    return m, vcpu
end

function tests.moving_machine()
    local home, other = vmlib.vm(), vmlib.vm{backends = backend.name}
    home:set_cpuid(vmlib.handoff_cpuid(vmlib.vm():vcpu(), vmlib.vm{backends = backend.name}:vcpu()))
    local said = {}
    local m, vcpu = machine(home, {serial = function(text) said[#said + 1] = text end})
    fails(vmlib.E_NOTFOUND, m.move, m, other)
    m:attach(other)
    home:on_port(0x60, function(who) equal(who, vcpu) return ("a"):byte() end)
    other:on_port(0x60, function(who) equal(who:vm(), other) return ("b"):byte() end)
    repeat m:step(vcpu, 1) until #said > 0
    m:move(other)
    equal(#m:ram(), 2)
    equal(other:find_vcpu(0):vm(), other)
    equal(m:run_vcpu(vcpu)["end"], vmlib.MACHINE_DEBUG_EXIT)
    equal(table.concat(said), "abb")
    equal(m:step(vcpu).reason, vmlib.EXIT_NONE)
    assert(#m:memory_map() > 0)
end

function tests.machines_in_lockstep()
    local said, machines, vcpus = {"", ""}, {}, {}
    for i = 1, 2 do
        local vm = vmlib.vm{time_mode = vmlib.TIME_DETERMINISTIC}
        machines[i], vcpus[i] = machine(vm, {rtc_seconds = 0, serial = function(text) said[i] = said[i] .. text end})
        vm:on_port(0x60, function() return 0x41 end)
    end
    local lockstep = vmlib.lockstep(vcpus[1], vcpus[2], {machines = machines, slice = 1})
    fails(vmlib.E_BUSY, machines[1].close, machines[1])
    equal(lockstep:run()["end"], vmlib.LOCKSTEP_STOPPED)
    equal(said[1], "AAA")
    equal(said[2], "AAA")
    lockstep:close()
    machines[1]:close()
    for i = 1, 2 do
        local vm = vmlib.vm{time_mode = vmlib.TIME_DETERMINISTIC}
        machines[i], vcpus[i] = machine(vm)
        if i == 2 then vm:on_port(0x60, function() error("second") end) end
    end
    lockstep = vmlib.lockstep(vcpus[1], vcpus[2], {machines = machines})
    fails("second", lockstep.run, lockstep)
end

function tests.log()
    local messages = {}
    local vm = vmlib.vm{backends = {"mock", "soft"}, required = {vmlib.FEATURE_GUEST_CODE},
                        log = function(level, text) messages[#messages + 1] = level .. text end}
    equal(#messages, 1)
    assert(messages[1]:find("lacks guest-code", 1, true) and messages[1]:find("soft", 1, true), messages[1])
    vm = vmlib.vm{log = function() error("a warning, if warnings are on") end}
    local gone = setmetatable({}, {__mode = "k"})
    do
        local box = {}
        box.vm = vmlib.vm{log = function() return box end}
        gone[box] = true
    end
    collectgarbage()
    collectgarbage()
    equal(next(gone), nil)
    fails("expected a function", vmlib.vm, {log = 3})
end

function tests.choice_and_names()
    local number, why = vmlib.backend_pick()
    assert(why:find(vmlib.backend_query(number).name, 1, true) == 1)
    equal((vmlib.backend_pick{vmlib.FEATURE_DETERMINISTIC}), vmlib.BACKEND_SOFT)
    fails("soft has no smm", vmlib.backend_pick, {vmlib.FEATURE_SMM})
    equal(vmlib.exit_name(vmlib.EXIT_HLT), "hlt")
    equal(vmlib.boot_format_name(vmlib.BOOT_LINUX), "linux")
    equal(vmlib.machine_end_name(vmlib.MACHINE_POWER_OFF), "power-off")
    equal(vmlib.exit_name(99), nil)
    assert(tostring(vmlib.backend_query(vmlib.BACKEND_SOFT)):find("name = 'soft'", 1, true))
end

function tests.mock_result()
    local vm = vmlib.vm{backends = "mock"}
    local vcpu = vm:vcpu()
    local step = vmlib.MockStep()
    step.exit.reason = vmlib.EXIT_PIO
    step.exit.pio = vmlib.ExitPio{port = 7, width = 1, count = 1}
    vcpu:mock_script{step}
    vcpu:run()
    vcpu:complete(0x55)
    equal(vcpu:mock_result().exit.pio.value, 0x55)
    equal(vm:find_vcpu(0), vcpu)
    fails(vmlib.E_NOTFOUND, vm.find_vcpu, vm, 1)
end

backend.run(tests)
