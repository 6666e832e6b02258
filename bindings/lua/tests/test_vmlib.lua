-- Tests of the Lua module. Guest code is 16-bit real mode at 0:1000 unless a test says otherwise.
package.path = arg[0]:match("(.*/)") .. "?.lua;" .. package.path
local vmlib = require "vmlib"
local backend = require "backend"
local equal, fails = backend.equal, backend.fails

local tests = {}
local HLT, SPIN = "\xf4", "\xeb\xfe"

local function start(vm, code)
    vm:write(0x1000, code)
    local vcpu = vm:vcpu()
    local cs = vcpu.cs
    cs.base, cs.selector = 0, 0
    vcpu.cs = cs
    vcpu:set{rip = 0x1000, rsp = 0x8000}
    return vcpu
end

local function world(code)
    local vm = vmlib.vm{backends = backend.name}
    vm:memory(0, 0x10000)
    return vm, start(vm, code)
end

function tests.hello()
    local vm, vcpu = world("\xbe\x0f\x10\xba\xe9\x00\xac\x84\xc0\x74\x03\xee\xeb\xf8\xf4Hello\n\0")
    local said = {}
    vm:on_port(0xe9, function(who, exit)
        equal(who, vcpu)
        equal(exit.port, 0xe9)
        equal(exit.write, true)
        said[#said + 1] = string.char(exit.value)
    end)
    local exit = vcpu:run()
    equal(exit.reason, vmlib.EXIT_HLT)
    equal(exit.name, "hlt")
    equal(table.concat(said), "Hello\n")
    equal(vm:backend(), backend.number)
end

function tests.complete()
    local vm, vcpu = world("\xe4\x60\xe6\x61\xf4")
    local exit = vcpu:run()
    equal(exit.port, 0x60)
    equal(exit.flags & vmlib.EXIT_F_PENDING, vmlib.EXIT_F_PENDING)
    fails(vmlib.E_STATE, vcpu.run, vcpu)
    fails("out of range", vcpu.complete, vcpu, 256)
    vcpu:complete(0x5a)
    exit = vcpu:run()
    equal(exit.pio.value, 0x5a)
    fails(vmlib.E_STATE, vcpu.complete, vcpu, 1)
    equal(vcpu:run().name, "hlt")
end

function tests.answers()
    local vm, vcpu = world("\xe4\x60\xa2\x00\x50\xb8\x00\xd0\x8e\xd8\xa0\x00\x00\xa2\x01\x00\xf4")
    local log = {}
    vm:on_port(0x60, function() return 0x42 end)
    vm:on_mmio(0xd0000, 0xd0fff, function(_, exit)
        log[#log + 1] = ("%x %x"):format(exit.rip, exit.address)
        if not exit.write then return 0x77 end
        equal(exit.value, 0x77)
    end, true)
    equal(vcpu:run().name, "hlt")
    equal(vm:read(0x5000, 1), "\x42")
    equal(table.concat(log, ","), "100a d0000,100d d0001")
end

function tests.wrong_answers()
    for _, answer in ipairs{"nonsense", 1.5, 256, -1, true, {1, 2}, print} do
        local vm, vcpu = world("\xe4\x60\xf4")
        vm:on_port(0x60, function() return answer end)
        assert(not pcall(vcpu.run, vcpu), tostring(answer))
    end
    local vm, vcpu = world("\xe6\x60\xf4")
    vm:on_port(0x60, function() return 1 end)
    fails("no value to answer", vcpu.run, vcpu)
end

function tests.errors_propagate_and_the_run_repeats()
    local vm, vcpu = world("\xe4\x60\xf4")
    local calls = 0
    local object = setmetatable({}, {__tostring = function() return "mine" end})
    vm:on_port(0x60, function()
        calls = calls + 1
        if calls == 1 then error(object) end
        return 7
    end)
    local ok, e = pcall(vcpu.run, vcpu)
    equal(ok, false)
    equal(e, object)
    equal(vcpu:run().name, "hlt")
    equal(calls, 2)
    equal(vcpu.rax & 0xff, 7)
end

function tests.pass_stop_remove()
    local vm, vcpu = world("\xe6\x10\xe6\x10\xe6\x10\xf4")
    vm:on_port(0x10, function() return "stop" end)
    local upper = vm:on_port(0x10, function() return "pass" end)
    equal(vcpu:run().reason, vmlib.EXIT_STOPPED)
    upper:remove()
    fails(vmlib.E_NOTFOUND, upper.remove, upper)
    equal(vcpu:run().reason, vmlib.EXIT_STOPPED)
end

function tests.inject()
    local vm, vcpu = world("\xe6\x10\xf4")
    vm:write(13 * 4, "\x00\x20\x00\x00")
    vm:write(0x2000, HLT)
    vm:on_port(0x10, function()
        return vmlib.Event{type = vmlib.EVENT_EXCEPTION, vector = 13, flags = vmlib.EVENT_HAS_ERROR}
    end)
    equal(vcpu:run().rip, 0x2001)
    vm, vcpu = world(HLT)
    vm:write(0x21 * 4, "\x00\x20\x00\x00")
    vm:write(0x2000, HLT)
    vcpu:inject{type = vmlib.EVENT_INTERRUPT, vector = 0x21}
    equal(vcpu:run().rip, 0x2001)
    fails("no member", vcpu.inject, vcpu, {colour = 1})
end

function tests.cpuid_msr_hypercall()
    if not backend.has("cpuid_msr_hypercall", vmlib.FEATURE_CPUID_HANDLERS, vmlib.FEATURE_MSR_HANDLERS,
                       vmlib.FEATURE_HYPERCALL_HANDLERS) then return end
    local vm, vcpu = world("\x66\x31\xc0\x0f\xa2\x66\x31\xc9\x0f\x32\x66\xb8\x09\0\0\0\x0f\x01\xc1\xf4")
    local rdx
    vm:on_cpuid(0, function() return {1, 2, 0, 4} end)
    vm:on_msr(0, function() return 0x1122334455667788 end)
    vm:on_hypercall(9, function(who, exit) rdx = who.rdx return 0xabcd end)
    equal(vcpu:run().name, "hlt")
    equal(rdx, 0x11223344)
    equal(vcpu.rax, 0xabcd)
end

function tests.deadline_and_cancel()
    local vm, vcpu = world(SPIN)
    equal(vcpu:run{deadline_ns = 1000000}.name, "deadline")
    vcpu:cancel()
    equal(vcpu:run().name, "cancelled")
    vcpu:cancel(vcpu:generation())
    equal(vcpu:run().name, "cancelled")
    fails(vmlib.E_STATE, vcpu.run, vcpu, {generation = 1})
    fails("budget", vcpu.run, vcpu, {budget = "many"})
end

function tests.budget_and_step()
    if not backend.has("budget_and_step", vmlib.FEATURE_BUDGET, vmlib.FEATURE_SINGLE_STEP) then return end
    local vm, vcpu = world(SPIN)
    local exit = vcpu:run{budget = 1000}
    equal(exit.reason, vmlib.EXIT_BUDGET)
    equal(exit.instructions, 1000)
    equal(vcpu:run{step = true}.debug.cause, vmlib.DEBUG_STEP)
end

function tests.breakpoints()
    if not backend.has("breakpoints", vmlib.FEATURE_BREAKPOINTS) then return end
    if backend.name ~= "soft" and backend.emulated() then
        return print("SKIP: breakpoints: on this machine breakpoints of the host do not fire")
    end
    local vm, vcpu = world("\xa3\x00\x20\x90" .. SPIN) -- mov [0x2000], ax; nop
    vcpu:set_breakpoint(0, 0x1003)
    vcpu:set_breakpoint(1, 0x2000, vmlib.BREAKPOINT_WRITE, 2)
    equal(vcpu:run{deadline_ns = 10000000000}.debug.cause, vmlib.DEBUG_WATCHPOINT)
    equal(vcpu:run{deadline_ns = 10000000000}.debug.address, 0x1003)
    vcpu:set_breakpoint(0)
    equal(vcpu:run{deadline_ns = 1000000}.name, "deadline")
end

function tests.interrupts()
    local vm, vcpu = world("\xfb" .. SPIN)
    vm:write(0x21 * 4, "\x00\x20\x00\x00")
    vm:write(0x2000, HLT)
    vm:on_intack(0, function() vcpu:set_intr(0) return 0x21 end)
    vcpu:set_intr(1)
    equal(vcpu:run{deadline_ns = 10000000000}.rip, 0x2001)
end

function tests.exceptions()
    if not backend.has("exceptions", vmlib.FEATURE_EXCEPTION_EXITS) then return end
    local vm, vcpu = world("\x0f\x0b")
    vcpu:set_exception_exits(1 << 6)
    equal(vcpu:run{deadline_ns = 10000000000}.exception.event.vector, 6)
end

function tests.doorbells()
    local vm, vcpu = world("\xb0\x05\xe6\x10\xe6\x11" .. SPIN)
    local rung = {}
    vm:doorbell(vmlib.DOORBELL_PIO, 0x10, function(value) rung[#rung + 1] = value end)
    vm:doorbell(vmlib.DOORBELL_PIO, 0x11, function() error("ring") end, {width = 1})
    fails("ring", vcpu.run, vcpu)
    equal(rung[1], 5)
end

function tests.registers()
    local vm, vcpu = world(HLT)
    vcpu.r8 = -1
    equal(vcpu.r8, -1)
    equal(vcpu:registers().r8, -1)
    vcpu.xmm3 = ("0123456789abcdef")
    equal(vcpu.xmm3, "0123456789abcdef")
    vcpu.gdtr = vmlib.Table{base = 0x7000, limit = 0x27}
    equal(vcpu.gdtr.limit, 0x27)
    local state = vcpu:get_state(vmlib.STATE_GPR)
    state.gpr.rbx = 77
    vcpu:set_state(state, vmlib.STATE_GPR)
    equal(vcpu.rbx, 77)
    fails(vmlib.E_INVAL, function() vcpu.cr4 = 1 << 63 end)
    fails("no register", function() vcpu.eax = 1 end)
    fails("no register", function() return vcpu.eax end)
    fails("expected a Segment", function() vcpu.cs = vmlib.Table() end)
    fails(vmlib.E_INVAL, function() vcpu.xmm0 = "short" end)
    vm:set_cpuid(vcpu:cpuid())
end

function tests.records()
    local s = vmlib.Segment{base = 0x12345, limit = 0xffff}
    equal(s, s:copy())
    equal(s.base, 0x12345)
    fails("fit", function() s.selector = 0x10000 end)
    fails("fit", function() s.selector = -1 end)
    fails("expected an integer", function() s.selector = "x" end)
    fails("no member", function() s.colour = 1 end)
    fails("no member", function() return s.colour end)
    local d = vmlib.Debug{dr = {1, 2, 3, 4}}
    equal(d.dr[4], 4)
    fails("takes 4 values", function() d.dr = {1} end)
    equal(vmlib.Segment(s:raw()), s)
    fails("length", vmlib.Segment, "short")
    local gpr = vmlib.State().gpr
    collectgarbage()
    gpr.rax = 5
    equal(gpr.rax, 5)
    fails("expected a record", s.copy, io.stdout)
    fails("expected a record", s.copy, 3)
end

function tests.memory()
    local vm = vmlib.vm{backends = backend.name}
    local region = vm:memory(0x10000, 0x4000, {flags = vmlib.REGION_DIRTY_LOG})
    equal(#region, 0x4000)
    equal(region:gpa(), 0x10000)
    region:u32(4, 0x11223344)
    equal(vm:read(0x10004, 4), "\x44\x33\x22\x11")
    equal(region:u8(4), 0x44)
    region:write(0x1000, "abc")
    equal(region:read(0x1000, 3), "abc")
    equal(table.concat(region:dirty(true), ","), "0,4096")
    equal(#region:dirty(), 0)
    fails(vmlib.E_RANGE, region.write, region, 0x3fff, "xy")
    fails(vmlib.E_RANGE, region.u64, region, 0x3ffc)
    fails(vmlib.E_RANGE, region.read, region, 0, 1 << 40)
    fails("out of range", region.u8, region, 0, 256)
    local alias = vm:memory(0x100000, 0x1000, {alias = region, offset = 0x1000})
    equal(vm:read(0x100000, 3), "abc")
    fails(vmlib.E_EXISTS, vm.memory, vm, 0x10000, 0x1000)
    region:protect(vmlib.PROT_R | vmlib.PROT_X)
    region:remove()
    fails(vmlib.E_NOTFOUND, region.remove, region)
    fails(vmlib.E_FAULT, vm.read, vm, 0x10000, 1)
end

function tests.wrong_types()
    local vm = vmlib.vm{backends = backend.name}
    local vcpu = vm:vcpu()
    fails("vmlib.VM expected", vm.read, vcpu, 0, 1)
    fails("vmlib.VM expected", vm.read, io.stdout, 0, 1)
    fails("vmlib.VCPU expected", vcpu.run, vm)
    fails("number expected", vm.memory, vm, "x", 1)
    fails("function expected", vm.on_port, vm, 1, 2)
    fails(vmlib.E_NOTFOUND, vmlib.vm, {backends = "abacus"})
    fails("names or numbers", vmlib.vm, {backends = {{}}})
    fails("vmlib.VM expected", vmlib.machine, 3)
    fails("string expected", vmlib.boot_load, vcpu)
    fails(vmlib.E_INVAL, vm.memory, vm, 1, 0x1000)
    equal(getmetatable(vm), "vmlib.VM")
end

function tests.use_after_close()
    local vm, vcpu = world(HLT)
    local region, handler = vm:memory(0x10000, 0x1000), vm:on_port(1, print)
    vm:close()
    vm:close()
    for _, f in ipairs{function() vcpu:run() end, function() vm:read(0, 1) end, function() return vcpu.rax end,
                       function() vcpu:cancel() end, function() vm:on_port(1, print) end,
                       function() vmlib.machine(vm) end} do
        fails(vmlib.E_STATE, f)
    end
    region:u8(0, 1)
    handler:remove()
    do
        local closing <close> = vmlib.vm{backends = backend.name}
    end
end

function tests.close_while_running()
    local vm, vcpu = world("\xe6\x10\xf4")
    vm:on_port(0x10, function() fails(vmlib.E_BUSY, vm.close, vm) end)
    equal(vcpu:run().name, "hlt")
end

function tests.run_inside_a_handler()
    local vm, vcpu = world("\xe6\x10\xe6\x10\xf4")
    local other_vm, other = world("\xe6\x20\xe6\x20\xf4")
    local log = {}
    other_vm:on_port(0x20, function(who) log[#log + 1] = who == other end)
    vm:on_port(0x10, function(who)
        fails(vmlib.E_BUSY, vcpu.run, vcpu)
        local exit = other:run()
        log[#log + 1] = exit.name
    end)
    equal(vcpu:run().name, "hlt")
    equal(log[1] and log[2], true)
    equal(log[3], "hlt")
end

function tests.yield_and_coroutines()
    local vm, vcpu = world("\xe6\x10\xf4")
    vm:on_port(0x10, coroutine.yield)
    fails("yield", coroutine.wrap(function() vcpu:run() end))
    vm, vcpu = world("\xe6\x10\xf4")
    equal(coroutine.wrap(function() return vcpu:run().name end)(), "pio")
end

function tests.collected()
    local gone = setmetatable({}, {__mode = "k"})
    do
        local vm, vcpu = world("\xe6\x10\xf4")
        local device = {vm = vm, vcpu = vcpu}
        vm:on_port(0x10, function() return device end)
        local machine = vmlib.machine(vmlib.vm{backends = backend.name}, {serial = function() return device end})
        gone[vm], gone[vcpu], gone[device], gone[machine] = true, true, true, true
    end
    collectgarbage()
    collectgarbage()
    equal(next(gone), nil)
    for order = 1, 24 do
        local vm, vcpu = world("\xe6\x10\xf4")
        local things = {vm, vcpu, vm:memory(0x10000, 0x1000), vm:on_port(1, print)}
        vm, vcpu = nil, nil
        local n = order
        for i = 4, 1, -1 do
            table.remove(things, n % i + 1)
            n = n // i
            collectgarbage()
        end
    end
end

function tests.dropped_inside_a_handler()
    local box = {}
    box.vm, box.vcpu = world("\xe6\x10\xe6\x10\xf4")
    box.vm:on_port(0x10, function() box = {} collectgarbage() collectgarbage() end)
    equal(box.vcpu:run().name, "hlt")
    local vm, vcpu = world("\xe6\x10\xe6\x10\xf4")
    local mine
    mine = vm:on_port(0x10, function() mine:remove() collectgarbage() end)
    equal(vcpu:run().name, "pio")
end

function tests.record_kept()
    local vm, vcpu = world("\xb0\x01\xe6\x10\xb0\x02\xe6\x10\xf4")
    local kept, copies = {}, {}
    vm:on_port(0x10, function(_, exit)
        kept[#kept + 1] = exit.pio
        copies[#copies + 1] = exit:copy()
    end)
    vcpu:run()
    vm, vcpu = nil, nil
    collectgarbage()
    equal(kept[2].value, 2) -- a look at the record, which is reused
    equal(copies[1].value, 1)
end

function tests.mock()
    local vm = vmlib.vm{backends = {"mock"}}
    local vcpu = vm:vcpu()
    local step = vmlib.MockStep()
    step.exit.reason = vmlib.EXIT_PIO
    step.exit.pio = vmlib.ExitPio{port = 7, width = 4, count = 1}
    vcpu:mock_script{step, step}
    equal(vcpu:run().port, 7)
    vcpu:complete(0xffffffff)
    vm:mock_fail(vmlib.MOCK_CALL_RUN, 0, vmlib.E_IO)
    fails(vmlib.E_IO, vcpu.run, vcpu)
end

function tests.machine()
    local sector = "\xb0A\xba\xf8\x03\xee\xb0\x05\xe6\xf4\xf4"
    sector = sector .. ("\0"):rep(510 - #sector) .. "\x55\xaa"
    local said = {}
    local machine = vmlib.machine(vmlib.vm{backends = backend.name}, {serial = function(text) said[#said + 1] = text end})
    machine:add_ram(1 << 20)
    machine:add_rng(1)
    local vcpu = machine:add_vcpu()
    fails(vmlib.E_INVAL, machine.boot, machine, "not a kernel")
    equal(vmlib.boot_detect(sector), vmlib.BOOT_SECTOR)
    fails(vmlib.E_RANGE, machine.boot, machine, sector, {memory = {vmlib.BootMemory{bytes = 0x1000, type = 1}}})
    machine:boot(sector)
    local result = machine:run_vcpu(vcpu)
    equal(result["end"], vmlib.MACHINE_DEBUG_EXIT)
    equal(result.value, 5)
    equal(table.concat(said), "A")
    if vmlib.backend_feature(backend.number, vmlib.FEATURE_INSN_COUNT) >= vmlib.SUPPORT_EMULATED then
        assert(machine:stats().instructions > 4)
    end
    equal(machine:serial_input("x"), 1)
    machine:close()
    fails(vmlib.E_STATE, machine.run_vcpu, machine, vcpu)
    machine = vmlib.machine(vmlib.vm{backends = backend.name}, {serial = function() error("full") end})
    machine:add_ram(1 << 20)
    vcpu = machine:add_vcpu()
    machine:boot(sector)
    fails("full", machine.run_vcpu, machine, vcpu)
end

function tests.capabilities()
    equal(vmlib.backend_query(vmlib.BACKEND_SOFT).name, "soft")
    equal(vmlib.backend_feature(vmlib.BACKEND_SOFT, vmlib.FEATURE_GUEST_CODE), vmlib.SUPPORT_NATIVE)
    equal(vmlib.version(), ("%d.%d.%d"):format(vmlib.VERSION_MAJOR, vmlib.VERSION_MINOR, vmlib.VERSION_PATCH))
    fails(vmlib.E_UNSUPPORTED, vmlib.vm, {backends = "mock", required = {vmlib.FEATURE_GUEST_CODE}})
end

backend.run(tests)
