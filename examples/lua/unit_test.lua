-- Unit tests of bare-metal code, from outside: loads an ELF program, calls its functions with arguments and a limit,
-- and gets results or faults. Usage: unit_test.lua PROGRAM (examples/guest/units.c)
local vmlib = require "vmlib"

local file = assert(io.open(arg[1], "rb"))
local program = file:read("a")
file:close()

local vm = vmlib.vm()
vm:memory(0, 2 << 20)
local vcpu = vm:vcpu()
vmlib.boot_load(vcpu, program)

local function call(name, ...)
    local address = vmlib.elf_symbol(program, name)
    return vcpu:call(address, {stack = 0x80000, budget = 100000}, ...)
end

print(('crc32("123456789") = %08x'):format(call("crc32", "123456789", 9).value & 0xffffffff))

local _, word = call("reverse", "drawer", 6) -- what has become of the string
print(('reverse("drawer") = %s'):format(word))

local quotient = call("divide", -100, 7).value & 0xffffffff
print(("divide(-100, 7) = %d"):format(("<i4"):unpack(("<I4"):pack(quotient))))

local result = call("divide", -100, 0)
if result["end"] == vmlib.CALL_FAULT then
    print("divide(-100, 0): exception " .. result.exit.exception.event.vector)
end

result = call("forever")
if result["end"] == vmlib.CALL_LIMIT then
    print(("forever(): stopped after %d instructions"):format(result.instructions))
end
