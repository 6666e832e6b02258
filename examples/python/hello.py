"""The smallest virtual machine: 16-bit code that prints through a port."""
import os
import sys

from vmlib import VCPU, VM, Exit, Reason

CODE = (b"\xbe\x0f\x10"  # mov si, message
        b"\xba\xe9\x00"  # mov dx, 0xe9
        b"\xac\x84\xc0"  # next: lodsb; test al, al
        b"\x74\x03\xee"  # jz done; out dx, al
        b"\xeb\xf8\xf4"  # jmp next; done: hlt
        b"Hello from a virtual machine!\n\0")

with VM(os.environ.get("VMLIB_BACKEND")) as vm:
    vm.memory(0, 0x10000)
    vm.write(0x1000, CODE)

    @vm.on_port(0xe9)
    def print_character(vcpu: VCPU, exit: Exit) -> None:
        sys.stdout.write(chr(exit.value))

    vcpu = vm.vcpu()
    cs = vcpu.cs
    cs.base = cs.selector = 0
    vcpu.cs = cs
    vcpu.rip = 0x1000
    reason = vcpu.run().reason
    print("The guest ended with:", reason.name.lower())
sys.exit(reason is not Reason.HLT)
