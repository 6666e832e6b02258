-- A memory-mapped device, answered in both ways: by a handler that runs inside vcpu:run(), and by records that
-- vcpu:run() returns. The guest multiplies two numbers on the device.
local vmlib = require "vmlib"

local DEVICE = 0xd0000 -- +0, +4: factors; +8: product (read only)
local MAILBOX = 0xd1000 -- no handler. +0: write a result; +4: read the verdict

local code = "\xb8\x00\xd0\x8e\xc0"                          -- mov ax, 0xd000; mov es, ax
    .. "\x66\xb8\x06\0\0\0\x26\x66\xa3\0\0"                  -- mov eax, 6; mov [es:0], eax
    .. "\x66\xb8\x07\0\0\0\x26\x66\xa3\x04\0"                -- mov eax, 7; mov [es:4], eax
    .. "\x26\x66\xa1\x08\0"                                  -- mov eax, [es:8]
    .. "\xbb\x00\xd1\x8e\xc3"                                -- mov bx, 0xd100; mov es, bx
    .. "\x26\x66\xa3\0\0\x26\x66\xa1\x04\0\xf4"              -- mov [es:0], eax; mov eax, [es:4]; hlt

local factors, accesses = {[0] = 0, [4] = 0}, 0

-- Guests choose width and offset: what the device does not have reads as zero and ignores writes.
local function access(_, exit)
    local offset = exit.address - DEVICE
    accesses = accesses + 1
    if exit.write then
        if exit.width == 4 and factors[offset] then factors[offset] = exit.value end
    elseif exit.width == 4 and offset == 8 then
        return factors[0] * factors[4] & 0xffffffff
    else
        return 0
    end
end

local vm = vmlib.vm{backends = os.getenv("VMLIB_BACKEND")}
vm:memory(0, 0x10000)
vm:write(0x1000, code)
vm:on_mmio(DEVICE, DEVICE + 0xfff, access)

local vcpu = vm:vcpu()
local cs = vcpu.cs
cs.base, cs.selector = 0, 0
vcpu.cs, vcpu.rip = cs, 0x1000

-- What no handler claims comes back from run; a read waits for its value.
local exit = vcpu:run()
while exit.reason == vmlib.EXIT_MMIO do
    local offset = exit.address - MAILBOX
    if exit.write then
        print(("guest writes %d to mailbox +%d"):format(exit.value, offset))
    else
        print(("guest reads mailbox +%d"):format(offset))
        vcpu:complete(0x6b6f) -- "ok"
    end
    exit = vcpu:run()
end
print("device accesses handled inside run: " .. accesses)
print(("ended with %s, eax 0x%x"):format(exit.name, vcpu.rax))
os.exit(exit.reason == vmlib.EXIT_HLT, true)
