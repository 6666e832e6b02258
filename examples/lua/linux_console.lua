-- A dialogue with Linux: boots it, waits for its shell, types commands, reads the answers.
-- Usage: linux_console.lua KERNEL INITRD    (the initrd ends in a shell: scripts/make-initramfs)
local vmlib = require "vmlib"

local function read(path)
    local file <close> = assert(io.open(path, "rb"))
    return file:read("a")
end

local console <close> = vmlib.console()
local machine = vmlib.machine(vmlib.vm(), {serial = console})
machine:add_ram(256 << 20)
machine:add_rng()
local vcpu = machine:add_vcpu()
machine:boot(read(arg[1]), {initrd = read(arg[2]), cmdline = "console=ttyS0 panic=-1 quiet guest=shell"})

-- The shell repeats what is typed; its answer is the line after that.
local function ask(command)
    console:expect("# ", 60)
    console:send(command .. "\n")
    console:expect("\r\n")
    local _, answer = console:expect("\r\n", 60)
    print(command .. ": " .. answer)
end

console:start(machine, {vcpu})
console:expect("guest: shell", 600)
ask("uname -s")
ask("echo $((6 * 7))")
console:expect("# ", 60)
console:send("poweroff -f\n")
local result = console:wait(60)
print("The machine ended with: " .. (result["end"] == vmlib.MACHINE_POWER_OFF and "power-off" or result.text))
