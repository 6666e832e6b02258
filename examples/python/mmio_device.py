"""A memory-mapped device, answered in both ways: by a handler that runs inside VCPU.run(), and by records that
VCPU.run() returns. The guest multiplies two numbers on the device."""
import os
import sys
from typing import Optional

from vmlib import VCPU, VM, Exit, Reason

DEVICE = 0xd0000  # +0, +4: factors; +8: product (read only)
MAILBOX = 0xd1000  # no handler. +0: write a result; +4: read the verdict

CODE = bytes.fromhex(
    "b800d0 8ec0"  # mov ax, 0xd000; mov es, ax
    "66b806000000 2666a30000"  # mov eax, 6; mov [es:0], eax
    "66b807000000 2666a30400"  # mov eax, 7; mov [es:4], eax
    "2666a10800"  # mov eax, [es:8]
    "bb00d1 8ec3"  # mov bx, 0xd100; mov es, bx
    "2666a30000 2666a10400 f4")  # mov [es:0], eax; mov eax, [es:4]; hlt


class Multiplier:
    def __init__(self) -> None:
        self.factors = [0, 0]
        self.accesses = 0

    def access(self, vcpu: VCPU, exit: Exit) -> Optional[int]:
        """Guests choose width and offset: what the device does not have reads as zero and ignores writes."""
        offset = exit.address - DEVICE
        self.accesses += 1
        if exit.write:
            if exit.width == 4 and offset in (0, 4):
                self.factors[offset // 4] = exit.value
            return None
        if exit.width == 4 and offset == 8:
            return self.factors[0] * self.factors[1] & 0xffffffff
        return 0


vm = VM(os.environ.get("VMLIB_BACKEND"))
vm.memory(0, 0x10000)
vm.write(0x1000, CODE)
multiplier = Multiplier()
vm.on_mmio(DEVICE, DEVICE + 0xfff)(multiplier.access)

vcpu = vm.vcpu()
cs = vcpu.cs
cs.base = cs.selector = 0
vcpu.cs = cs
vcpu.rip = 0x1000
while True:
    # What no handler claims comes back from run; a read waits for its value.
    exit = vcpu.run()
    if exit.reason is not Reason.MMIO:
        break
    offset = exit.address - MAILBOX
    if exit.write:
        print(f"guest writes {exit.value} to mailbox +{offset}")
    else:
        print(f"guest reads mailbox +{offset}")
        vcpu.complete(0x6b6f)  # "ok"
print("device accesses handled inside run:", multiplier.accesses)
print(f"ended with {exit.reason.name.lower()}, eax {vcpu.rax:#x}")
sys.exit(exit.reason is not Reason.HLT)
