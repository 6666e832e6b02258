-- Random calls with random arguments on every object of the module, with handlers that do the same, and garbage
-- collection all the time: errors are fine, crashes and hangs are not. Usage: monkey.lua [CALLS [SEED]]
local vmlib = require "vmlib"

local calls, seed = tonumber(arg[1] or 20000), tonumber(arg[2] or 1)
math.randomseed(seed, seed)
collectgarbage("generational")
local sector = "\xb0A\xba\xf8\x03\xee\xe6\x10\xe4\x11\xb0\x05\xe6\xf4\xf4"
sector = sector .. ("\0"):rep(510 - #sector) .. "\x55\xaa"

local things, depth, counts = {}, 0, {done = 0, refused = 0}
local methods = {
    "memory", "vcpu", "read", "write", "handler", "doorbell", "clock", "backend", "set_cpuid", "close", "on_port",
    "on_mmio", "on_msr", "run", "complete", "fault", "cancel", "generation", "set_intr", "nmi", "init", "sipi",
    "set_exception_exits", "inject", "set_breakpoint", "translate", "get_state", "set_state", "registers", "set",
    "cpuid", "mock_script", "remove", "protect", "dirty", "u8", "u32", "u64", "gpa", "size", "add_ram", "add_vcpu",
    "add_disk", "add_console", "add_rng", "boot", "run_vcpu", "stop", "serial_input", "stats", "copy", "raw", "watch",
    "take", "each", "lost", "start", "expect", "send", "wait", "call", "rax", "cs", "xmm0", "gpr", "value", "reason",
    "pio", "exit", "base", "differences",
    "report", "intr", "attach", "move", "ram", "memory_map", "share", "written", "find_vcpu", "mock_result", "__gc", "__index",
}
local constructors = {"vm", "machine", "ring", "console", "Segment", "State", "Exit", "Event", "MockStep", "boot_load",
                      "buffer", "lockstep", "handoff_cpuid", "handoff_memory", "handoff_vcpu", "boot_detect", "elf_symbol", "double", "backend_query"}
local step

local function pick(list) return list[math.random(#list)] end

local function handler(...)
    if depth < 3 then
        depth = depth + 1
        for _ = 1, math.random(0, 2) do step(...) end
        depth = depth - 1
    end
    return pick{false, 0, 1, 255, -1, "text", "pass", "stop", {1, 2, 3, 4}} or nil
end

local function value(...)
    local kind = math.random(12)
    if kind == 1 then return math.random(0, 7)
    elseif kind == 2 then return pick{-1, 1 << 31, 1 << 32, math.mininteger, math.maxinteger, 0x1000, 0x10000}
    elseif kind == 3 then return pick{"", sector, "soft", "mock"}
    elseif kind == 4 then return 1.5
    elseif kind == 5 then return {}
    elseif kind == 6 then return {1, 2}
    elseif kind == 7 then return handler
    elseif kind == 8 then return {budget = math.random(2000), alias = pick(things), serial = pick{handler, 1}, kernel = sector}
    elseif kind == 9 then return nil
    elseif kind == 10 then return (pick{..., false})
    else return pick(things) end
end

local function fresh()
    local vm = vmlib.vm{backends = pick{"soft", "soft", "mock"}, log = handler}
    things[#things + 1] = vm
    local vcpu
    if math.random() < 0.3 then
        local console = math.random() < 0.5 and vmlib.console() or nil
        local machine = vmlib.machine(vm, {serial = console or handler, timeout_ns = 20000000})
        machine:add_ram(1 << 20)
        vcpu = machine:add_vcpu()
        machine:boot(sector)
        things[#things + 1] = machine
        things[#things + 1] = console
        if console and math.random() < 0.5 then console:start(machine, {vcpu}) end
    else
        local host = math.random() < 0.5 and vmlib.buffer(0x10000) or nil
        things[#things + 1] = host
        things[#things + 1] = vm:memory(0, 0x10000, {flags = math.random(0, 2), host = host})
        vcpu = vm:vcpu()
        vmlib.boot_load(vcpu, sector)
    end
    things[#things + 1] = vcpu
    if vm:backend() ~= vmlib.BACKEND_MOCK then
        local ok, cs = pcall(function() return vcpu.cs end)
        things[#things + 1] = ok and cs or nil
    end
    local other = pick(things)
    local ok, lockstep = pcall(vmlib.lockstep, vcpu, other, {exit = handler, mask = handler, deadline_ns = 1000000})
    things[#things + 1] = ok and lockstep or nil
    things[#things + 1] = vm:on_port(0x10, 0x11, handler)
    things[#things + 1] = vmlib.ring(vm, {capacity = 4})
end

-- Not without a limit: nobody would end it.
local function bounded(thing, name, ...)
    if name == "run" and getmetatable(thing) == "vmlib.Lockstep" then return math.random(1, 5) end
    if name == "run" then return {budget = math.random(2000), deadline_ns = pick{0, 1000, 1000000}} end
    if name == "call" then return math.random(0, 1 << 20), {budget = 1000} end
    if name == "expect" or name == "send" then return pick{"a", "A", 1}, 0 end
    if name == "wait" then return 0 end
    local list = {}
    for i = 1, math.random(0, 4) do list[i] = value(...) end
    return table.unpack(list, 1, 4)
end

function step(...)
    if #things == 0 or math.random() < 0.02 then pcall(fresh) end
    while #things > 40 do table.remove(things, math.random(#things)) end
    local thing, name = pick(things) or ..., pick(methods)
    local extra = {...}
    local ok, result = pcall(function()
        if math.random() < 0.1 then
            return vmlib[pick(constructors)](value(table.unpack(extra)), value(table.unpack(extra)))
        elseif math.random() < 0.1 then
            thing[name] = value(table.unpack(extra))
            return nil
        end
        local member = thing[name]
        if type(member) ~= "function" then return member end
        if math.random() < 0.1 then thing = pick(things) end -- a method of one type on another
        return member(thing, bounded(thing, name, table.unpack(extra)))
    end)
    counts[ok and "done" or "refused"] = counts[ok and "done" or "refused"] + 1
    if ok and type(result) == "userdata" then things[#things + 1] = result end
end

for i = 1, calls do
    step()
    if i % 100 == 0 then collectgarbage() end
end
print(counts.done .. " done, " .. counts.refused .. " refused")
assert(counts.done > calls // 20)
