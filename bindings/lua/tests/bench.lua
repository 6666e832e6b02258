-- What crossing into Lua costs, on the software engine: nanoseconds per guest event. Run it on a quiet machine.
local vmlib = require "vmlib"

local count = 1 << 20
-- mov ecx, 0x100000; mov dx, 0xe9; next: out dx, al; dec ecx; jnz next; hlt
local code = "\x66\xb9\x00\x00\x10\x00\xba\xe9\x00\xee\x66\x49\x75\xfb\xf4"

local function measure(name, prepare)
    local best = math.huge
    for _ = 1, 3 do
        local vm = vmlib.vm{backends = "soft"}
        vm:memory(0, 0x10000)
        vm:write(0x1000, code)
        local vcpu = vm:vcpu()
        local cs = vcpu.cs
        cs.base, cs.selector = 0, 0
        vcpu.cs, vcpu.rip = cs, 0x1000
        local run = prepare(vm, vcpu)
        local begin = os.clock()
        run()
        best = math.min(best, os.clock() - begin)
    end
    print(("%-40s %7.0f ns per event %7.2f million/s"):format(name, best / count * 1e9, count / best / 1e6))
end

measure("port handler that looks at the value", function(vm, vcpu)
    vm:on_port(0xe9, function(_, exit) local _ = exit.value end)
    return function() vcpu:run() end
end)

measure("loop around run()", function(_, vcpu)
    return function()
        repeat until vcpu:run().reason ~= vmlib.EXIT_PIO
    end
end)

measure("event ring, each event given to a function", function(vm, vcpu)
    local ring = vmlib.ring(vm)
    ring:watch(vmlib.HANDLER_PIO, 0xe9)
    return function()
        repeat
            local exit = vcpu:run()
            ring:each(function(address, value) end)
        until exit.reason ~= vmlib.EXIT_STOPPED
    end
end)
