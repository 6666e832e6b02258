-- A little of everything, for tests in which each allocation fails once.
local vmlib = require "vmlib"

local function side(name, code)
    local vm = vmlib.vm{backends = name, log = function() end}
    local ram = vm:memory(0, 0x2000, {host = vmlib.buffer(0x2000)})
    vm:write(0x1000, code)
    local vcpu = vm:vcpu()
    vcpu:set{cs = vmlib.Segment{limit = 0xffff, attributes = 0x9b}, rip = 0x1000}
    return vm, ram, vcpu
end

local vm, ram, vcpu = side("soft", "\xe4\x10\xe6\x11\xf4")
local bell = vm:doorbell(vmlib.DOORBELL_PIO, 0x11, function(value) return tostring(value) end)
vm:on_port(0x10, function(_, exit) return exit:copy().pio.width end)
vcpu:run()
vcpu:get_state():raw()
vcpu:cpuid()
bell:remove()
local ring = vmlib.ring(vm, {capacity = 4})
ring:watch(vmlib.HANDLER_PIO, 0x10, 0x1f)
vcpu.rip = 0x1000
vcpu:run()
ring:take()
ring:close()
pcall(vm.memory, vm, 0, 0x1000)
local other, _, second = side("soft", "\xe4\x10\xf4")
local lockstep = vmlib.lockstep(vcpu, second, {exit = function() return "stop" end, mask = function() end})
lockstep:run()
lockstep:report()
lockstep:differences()
lockstep:close()
ram:share(vmlib.vm())
local said = {}
local machine = vmlib.machine(vmlib.vm(), {serial = function(text) said[#said + 1] = text end, debug = vmlib.console()})
machine:add_ram(1 << 20)
local boot = machine:add_vcpu()
local sector = "\xb0A\xba\xf8\x03\xee\xb0\x05\xe6\xf4\xf4"
machine:boot(sector .. ("\0"):rep(510 - #sector) .. "\x55\xaa", {cmdline = "x"})
machine:run_vcpu(boot)
machine:ram()
machine:memory_map()
