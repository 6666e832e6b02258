-- The smallest virtual machine: 16-bit code that prints through a port.
local vmlib = require "vmlib"

local code = "\xbe\x0f\x10" -- mov si, message
    .. "\xba\xe9\x00"       -- mov dx, 0xe9
    .. "\xac\x84\xc0"       -- next: lodsb; test al, al
    .. "\x74\x03\xee"       -- jz done; out dx, al
    .. "\xeb\xf8\xf4"       -- jmp next; done: hlt
    .. "Hello from a virtual machine!\n\0"

local vm <close> = vmlib.vm{backends = os.getenv("VMLIB_BACKEND")}
vm:memory(0, 0x10000)
vm:write(0x1000, code)
vm:on_port(0xe9, function(_, exit) io.write(string.char(exit.value)) end)

local vcpu = vm:vcpu()
local cs = vcpu.cs
cs.base, cs.selector = 0, 0
vcpu.cs, vcpu.rip = cs, 0x1000
local exit = vcpu:run()
print("The guest ended with: " .. exit.name)
os.exit(exit.reason == vmlib.EXIT_HLT, true)
