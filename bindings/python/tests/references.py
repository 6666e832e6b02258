"""With a debug interpreter: what a little of everything leaves behind, in references. Each round must leave as much as the
one before."""
import gc
import sys

import vmlib
from vmlib import (VM, Console, Event, HandlerKind, Lockstep, LockstepFlag, Machine, Reason, RegionFlag, Ring, Segment,
                   StateGroup)

SECTOR = b"\xb0A\xba\xf8\x03\xee\xb0\x05\xe6\xf4\xf4".ljust(510, b"\0") + b"\x55\xaa"


def refuse(call, *args, **kwargs):
    try:
        call(*args, **kwargs)
    except Exception:
        return
    raise AssertionError("no error")


def world(code, **options):
    vm = VM("soft", **options)
    ram = vm.memory(0, 0x10000, flags=RegionFlag.DIRTY_LOG)
    vm.write(0x1000, code)
    vcpu = vm.vcpu()
    vcpu.cs = Segment(limit=0xffff, attributes=0x9b)
    vcpu.set(rip=0x1000, rsp=0x8000)
    return vm, ram, vcpu


def round_of_everything():
    vm, ram, vcpu = world(b"\xe4\x10\xe6\x11\xe6\x12\xf4", log=lambda level, text: None)
    bell = vm.doorbell(0, 0x12, lambda value: None)
    vm.on_port(0x10)(lambda vcpu, exit: [exit.pio.width, exit.copy(), 5][2])
    with Ring(vm, 4) as ring:
        ring.watch(HandlerKind.PIO, 0x11)
        assert vcpu.run().reason is Reason.HLT
        memoryview(ring).release()
        list(ring.events())
    bell.remove()
    state = vcpu.get_state(StateGroup.ALL)
    state.asdict(), repr(state), state.gpr == state.gpr, state.raw()
    vcpu.set_state(state)
    vcpu.registers(), vcpu.cpuid(), vcpu.translate(0x1000), vcpu.read(0, 4), vcpu.xmm0
    vm.set_cpuid(vcpu.cpuid())
    ram.dirty(clear=True), ram.view.release(), vm.find_vcpu(0), vm.backend, vm.clock
    for call in (lambda: vm.memory(0, 4096), lambda: vm.memory("x", 1), lambda: VM(3.5), lambda: vcpu.set(nothing=1),
                 lambda: vcpu.inject(3), lambda: vcpu.inject(Event(type=99)), lambda: Segment(base=-1),
                 lambda: Segment(colour=1), lambda: vm.set_cpuid([3]), lambda: vcpu.call(0), lambda: Ring(vm, 3),
                 lambda: Lockstep(vcpu, vcpu), lambda: Lockstep(vcpu, vcpu, regions=[(ram, 3)]),
                 lambda: vmlib.backend_pick([vmlib.Feature.SMM]), lambda: vmlib.elf_symbol(b"x", "y"),
                 lambda: vm.on_port(3)(3), lambda: vm.doorbell(0, 0, 3), lambda: ram.share(vm)):
        refuse(call)
    broken, _, breaks = world(b"\xe4\x10\xf4")
    broken.on_port(0x10)(lambda vcpu, exit: 1 // 0)
    refuse(breaks.run)
    a, b = world(b"\xe4\x10\xe6\x11\xf4"), world(b"\xf4")
    with Lockstep(a[2], b[2], regions=[(a[1], b[1])], flags=LockstepFlag.COPY, exit=lambda lockstep, exit: None,
                  mask=lambda insn, mask, before: None) as lockstep:
        lockstep.run(), lockstep.report(), lockstep.differences()
    vmlib.handoff_cpuid(a[2], b[2]), vmlib.handoff_memory(a[1], b[1]), vmlib.handoff_vcpu(a[2], b[2])
    a[1].share(VM("soft"))
    machine = Machine(VM("soft"), serial=lambda data: None, debug=Console())
    machine.add_ram(1 << 20)
    boot = machine.add_vcpu()
    machine.boot(SECTOR)
    machine.attach(other := VM("soft"))
    machine.step(boot, 1)
    machine.move(other)
    machine.run_vcpu(boot)
    machine.ram(), machine.memory_map(), machine.stats()
    refuse(machine.boot, SECTOR, modules=((b"x",),))
    refuse(machine.add_disk, "/nonexistent")
    spins = Machine(VM("soft"), serial=(console := Console()))
    spins.add_ram(1 << 20)
    boot = spins.add_vcpu()
    spins.boot(SECTOR)
    with console:
        console.start(spins, [boot])
        console.expect("A", timeout=60), console.wait(timeout=60), console.before
        refuse(console.expect, "B")


totals = [0] * 8  # whose numbers do not count among what is left
for i in range(8):
    round_of_everything()
    gc.collect()
    gc.collect()
    totals[i] = sys.gettotalrefcount()
steps = [after - before for before, after in zip(totals, totals[1:])]
print("references left by each round:", steps)
assert max(steps[4:]) <= 0, "each round leaves some"
