"""What crossing into Python costs, on the software engine: nanoseconds per guest event. Run it on a quiet machine."""
import time
from typing import Any, Callable

from vmlib import VCPU, VM, Exit, HandlerKind, Reason, Ring

COUNT = 1 << 20
# mov ecx, 0x100000; mov dx, 0xe9; next: out dx, al; dec ecx; jnz next; hlt
CODE = bytes.fromhex("66b900001000 bae900 ee 6649 75fb f4")


def world() -> "tuple[VM, VCPU]":
    vm = VM("soft")
    vm.memory(0, 0x10000)
    vm.write(0x1000, CODE)
    vcpu = vm.vcpu()
    cs = vcpu.cs
    cs.base = cs.selector = 0
    vcpu.cs = cs
    vcpu.rip = 0x1000
    return vm, vcpu


def measure(name: str, prepare: Callable[[VM, VCPU], Callable[[], Any]]) -> None:
    best = float("inf")
    for _ in range(3):
        vm, vcpu = world()
        run = prepare(vm, vcpu)
        begin = time.process_time()
        run()
        best = min(best, time.process_time() - begin)
    print(f"{name:40} {best / COUNT * 1e9:7.0f} ns per event {COUNT / best / 1e6:7.2f} million/s")


def handler(vm: VM, vcpu: VCPU) -> Callable[[], Any]:
    def port(vcpu: VCPU, exit: Exit) -> None:
        exit.value

    vm.on_port(0xe9)(port)
    return vcpu.run


def loop(vm: VM, vcpu: VCPU) -> Callable[[], Any]:
    def run() -> None:
        while vcpu.run().reason is Reason.PIO:
            pass

    return run


def ring(vm: VM, vcpu: VCPU) -> Callable[[], Any]:
    events = Ring(vm)
    events.watch(HandlerKind.PIO, 0xe9)

    def run() -> None:
        more = True
        while more:
            more = vcpu.run().reason is Reason.STOPPED
            for address, value, index, kind, width, write in events.events():
                pass

    return run


measure("port handler that looks at the value", handler)
measure("loop around run()", loop)
measure("event ring, each event unpacked", ring)
