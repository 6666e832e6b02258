-- A coverage-guided fuzzer of a guest's parser. The program tells its basic blocks to a port; an event ring collects
-- them, so that a call costs no exits; inputs that reach new blocks are kept and changed further. Stops at the first
-- fault. Usage: fuzzer.lua PROGRAM (examples/guest/parser.c)
local vmlib = require "vmlib"

local file = assert(io.open(arg[1], "rb"))
local program = file:read("a")
file:close()

local vm = vmlib.vm()
vm:memory(0, 2 << 20)
local vcpu = vm:vcpu()
vmlib.boot_load(vcpu, program)
local parse = vmlib.elf_symbol(program, "parse")
local ring = vmlib.ring(vm)
ring:watch(vmlib.HANDLER_PIO, 0x100)

local interesting = {0, 1, 2, 7, 0x7f, 0x80, 0xff}
math.randomseed(1, 2) -- the same numbers every time: a found fault can be found again
local seen, kept = {}, {"VM"}

local function mutate(data)
    local bytes = {data:byte(1, -1)}
    for _ = 1, math.random(3) do
        local byte = math.random(2) == 1 and interesting[math.random(#interesting)] or math.random(0, 255)
        local at = math.random(32)
        bytes[at <= #bytes and at or math.min(#bytes + 1, 32)] = byte
    end
    return string.char(table.unpack(bytes))
end

for runs = 1, 1000000 do
    local packet = mutate(kept[math.random(#kept)])
    local result = vcpu:call(parse, {stack = 0x80000}, packet, #packet)
    if result["end"] == vmlib.CALL_FAULT then
        print(("fault: exception %d in parse()"):format(result.exit.exception.event.vector))
        print("the packet is of version 2 and has records: " .. (packet:byte(3) == 2 and #packet > 4 and "yes" or "no"))
        io.stderr:write(("%d runs, %d inputs kept\n"):format(runs, #kept))
        os.exit(true, true)
    end
    local new = false
    ring:each(function(_, where)
        if not seen[where] then seen[where], new = true, true end
    end)
    if new then kept[#kept + 1] = packet end
end
error("nothing found")
