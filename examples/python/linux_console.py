"""A dialogue with Linux: boots it, waits for its shell, types commands, reads the answers.
Usage: linux_console.py KERNEL INITRD    (the initrd ends in a shell: scripts/make-initramfs)"""
import pathlib
import sys

from vmlib import VM, Console, Machine, MachineEnd

kernel, initrd = (pathlib.Path(path).read_bytes() for path in sys.argv[1:])
console = Console()
machine = Machine(VM(), serial=console)
machine.add_ram(256 << 20)
machine.add_rng()
vcpu = machine.add_vcpu()
machine.boot(kernel, initrd=initrd, cmdline="console=ttyS0 panic=-1 quiet guest=shell")


def ask(command: str) -> None:
    """The shell repeats what is typed; its answer is the line after that."""
    console.expect("# ", timeout=60)
    console.send(command + "\n")
    console.expect("\r\n")
    console.expect("\r\n", timeout=60)
    print(f"{command}: {console.before.decode()}")


with console:
    console.start(machine, [vcpu])
    console.expect("guest: shell", timeout=600)
    ask("uname -s")
    ask("echo $((6 * 7))")
    console.expect("# ", timeout=60)
    console.send("poweroff -f\n")
    end = console.wait(timeout=60).end
print("The machine ended with:", end.name.lower().replace("_", "-"))
sys.exit(end is not MachineEnd.POWER_OFF)
