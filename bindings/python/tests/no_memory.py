"""Each allocation of the interpreter fails once: MemoryError, and no crash. Counts down through calls of all objects."""
import sys

import vmlib
from vmlib import (VM, Console, HandlerKind, Lockstep, LockstepFlag, Machine, Reason, RegionFlag, Ring, Segment,
                   handoff_cpuid, handoff_memory)

try:
    import _testcapi
except ImportError:
    print("SKIP: this Python has no module _testcapi")
    sys.exit(77)

SECTOR = b"\xb0A\xba\xf8\x03\xee\xb0\x05\xe6\xf4\xf4".ljust(510, b"\0") + b"\x55\xaa"


def nothing(*args):
    pass


def number(who, exit):
    return [exit.data, exit.copy(), 5][2] if exit.reason is Reason.PIO else None


def world(code):
    vm = VM("soft", log=nothing)
    ram = vm.memory(0, 0x10000, flags=RegionFlag.DIRTY_LOG)
    vm.write(0x1000, code)
    vcpu = vm.vcpu()
    vcpu.cs = Segment(limit=0xffff, attributes=0x9b)
    vcpu.set(rip=0x1000, rsp=0x8000)
    return vm, ram, vcpu


def running():
    vm, ram, vcpu = world(b"\xe4\x10\xe6\x11\xe6\x12\xf4")
    vm.on_port(0x10)(number)
    bell = vm.doorbell(0, 0x12, nothing)
    with Ring(vm, 4) as ring:
        ring.watch(HandlerKind.PIO, 0x11)
        vcpu.run()
        list(ring.events())
    bell.remove()
    vcpu.get_state().asdict(), vcpu.cpuid(), vcpu.registers(), ram.dirty(), repr(vcpu.cs)


def pairs():
    a, b = world(b"\xe4\x10\xf4"), world(b"\xf4")
    with Lockstep(a[2], b[2], regions=[(a[1], b[1])], flags=LockstepFlag.COPY, exit=number, mask=nothing) as lockstep:
        lockstep.run(), lockstep.report(), lockstep.differences()
    handoff_cpuid(a[2], b[2]), handoff_memory(a[1], b[1]), a[1].share(VM("soft"))


def machines():
    machine = Machine(VM("soft"), serial=nothing, debug=Console())
    machine.add_ram(1 << 20)
    vcpu = machine.add_vcpu()
    machine.boot(SECTOR, modules=())
    machine.run_vcpu(vcpu), machine.ram(), machine.memory_map(), machine.stats()


sys.unraisablehook = nothing
for part in (running, pairs, machines):
    part()
    failed = good = n = 0
    while good < 50:  # behind the last allocation
        n += 1
        _testcapi.set_nomemory(n, n + 1)
        try:
            part()
            good += 1
        except (MemoryError, vmlib.Error):
            failed += 1
            good = 0
        finally:
            _testcapi.remove_mem_hooks()
    print(f"{part.__name__}: {failed} allocations have failed")
    assert failed > 10
