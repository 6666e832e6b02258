"""Programs that do the wrong thing at the worst moment: everything is an error, nothing is a crash. Most of what these
tests could break only an address sanitizer, a debug interpreter or a debug allocator sees: they run under those, too."""
import gc
import os
import subprocess
import sys
import threading
import unittest

import vmlib
from backend import BACKEND, main
from vmlib import (VM, Answer, Console, HandlerKind, Lockstep, Machine, Reason, Ring, Segment)

SPIN = b"\xeb\xfe"
SECTOR = b"\xb0A\xba\xf8\x03\xee\xb0\x05\xe6\xf4\xf4".ljust(510, b"\0") + b"\x55\xaa"


def world(code=SPIN):
    vm = VM(BACKEND)
    vm.memory(0, 0x10000)
    vm.write(0x1000, code)
    vcpu = vm.vcpu()
    vcpu.cs = Segment(limit=0xffff, attributes=0x9b)
    vcpu.set(rip=0x1000, rsp=0x8000)
    return vm, vcpu


def machine(**options):
    machine = Machine(VM(BACKEND), **options)
    machine.add_ram(1 << 20)
    vcpu = machine.add_vcpu()
    machine.boot(SECTOR)
    return machine, vcpu


class Evil:
    """A number, a path, a sequence, that closes something while it is read."""

    def __init__(self, *close, value=4096):
        self.close, self.value = close, value

    def __index__(self):
        for close in self.close:
            close()
        gc.collect()
        return self.value

    def __float__(self):
        return float(self.__index__())

    def __fspath__(self):
        self.__index__()
        return "/dev/null"

    def __iter__(self):
        self.__index__()
        return iter(self.value)

    def __bool__(self):
        self.__index__()
        return True


class ArgumentsThatClose(unittest.TestCase):
    """The object of a call is closed while the call reads its arguments."""

    def refused(self, *calls):
        for call in calls:
            with self.assertRaises((vmlib.Error, ValueError, TypeError)):
                call()

    def test_vm(self):
        for name, args in (("memory", (0x20000, Evil)), ("read", (Evil, 1)), ("write", (Evil, b"x")),
                           ("vcpu", (Evil,)), ("find_vcpu", (Evil,)), ("mock_fail", (Evil, 0, 0)),
                           ("_handler", (0, Evil, 5, None)), ("_doorbell", (0, Evil, None, 1)),
                           ("set_cpuid", (lambda close: Evil(close, value=[vmlib.CpuidLeaf()]),))):
            with self.subTest(name):
                vm, vcpu = world()
                self.refused(lambda: getattr(vm, name)(*(a(vm.close) if callable(a) else a for a in args)))

    def test_vcpu(self):
        for name, args in (("complete", (Evil,)), ("fault", (Evil,)), ("set_breakpoint", (0, Evil)),
                           ("set_cpuid", (lambda close: Evil(close, value=[vmlib.CpuidLeaf()]),)), ("call", (0, Evil))):
            with self.subTest(name):
                vm, vcpu = world(b"\xe4\x10\xf4")
                vcpu.run()
                try:  # the vCPU itself is still there
                    getattr(vcpu, name)(*(a(vm.close) if callable(a) else a for a in args))
                except (vmlib.Error, OverflowError):
                    pass
        for name in ("set_intr", "sipi", "request_interrupt_window", "cancel"):
            vm, vcpu = world()
            try:
                getattr(vcpu, name)(Evil(vm.close, value=1))
            except vmlib.Error:
                pass
        vm, vcpu = world()
        vcpu.rax = 1
        with self.assertRaises(vmlib.StateError):
            vcpu.rax = Evil(vm.close)

    def test_machine(self):
        for name, args in (("add_ram", (lambda close: Evil(close, value=1 << 20),)), ("add_rng", (Evil,)),
                           ("add_disk", (Evil,)), ("step", (1, Evil))):
            with self.subTest(name):
                pc, vcpu = machine()
                self.refused(lambda: getattr(pc, name)(*(a(pc.close) if callable(a) else vcpu for a in args)))
        pc = Machine(VM(BACKEND))
        self.refused(lambda: pc.boot(SECTOR, load_address=Evil(pc.close)))
        vm, vcpu = world()
        self.refused(lambda: vmlib.boot_load(vcpu, SECTOR, load_address=Evil(vm.close)))

    def test_ring_and_console(self):
        vm, vcpu = world()
        ring = Ring(vm)
        self.refused(lambda: ring.watch(HandlerKind.PIO, Evil(ring.close)))
        ring = Ring(vm)
        self.refused(lambda: ring.consume(Evil(ring.close)))
        for name, args in (("expect", ("x",)), ("wait", ()), ("send", ("x",))):
            pc, vcpu = machine(serial=(console := Console()))
            console.start(pc, [vcpu])
            self.refused(lambda: getattr(console, name)(*args, timeout=Evil(console.close)))
        pc, vcpu = machine(serial=(console := Console()))
        self.refused(lambda: console.start(pc, Evil(pc.close, value=[vcpu])))

    def test_lockstep(self):
        pair = [world()[1], world()[1]]
        lockstep = Lockstep(*pair)
        self.refused(lambda: lockstep.run(Evil(lockstep.close)))
        lockstep = Lockstep(*pair)
        self.refused(lambda: lockstep.intr(Evil(lockstep.close, value=1)))


class FinalizersThatClose(unittest.TestCase):
    """The collector runs in the middle of a call, and a finalizer closes the call's object."""

    def close_in_collector(self, close):
        class Trap:
            def __del__(self):
                try:
                    close()
                except vmlib.BusyError:
                    pass

        trap = Trap()
        trap.itself = trap

    def everywhere(self, prepare, use):
        """The trap goes off at the n-th object that the call makes."""
        threshold = gc.get_threshold()
        for n in range(1, 25):
            thing, close = prepare()
            gc.collect()
            gc.disable()
            self.close_in_collector(close)
            gc.enable()
            gc.set_threshold(n, 1, 1)
            try:
                use(thing)
            except (vmlib.Error, BufferError):
                pass
            finally:
                gc.set_threshold(*threshold)
            gc.collect()

    def test_ring(self):
        def prepare():
            vm, vcpu = world(b"\xe6\x10\xe6\x11\xf4")
            ring = Ring(vm, 4)
            ring.watch(HandlerKind.PIO, 0x10, 0x1f)
            vcpu.run()
            return ring, ring.close

        self.everywhere(prepare, lambda ring: list(ring.events()))

    def test_machine(self):
        def prepare():
            pc, vcpu = machine(serial=lambda data: [data])
            return (pc, vcpu), pc.close

        def use(things):
            pc, vcpu = things
            pc.ram(), pc.memory_map(), pc.stats()
            pc.run_vcpu(vcpu)

        self.everywhere(prepare, use)

    def test_vm(self):
        def prepare():
            vm, vcpu = world(b"\xe4\x10\xe6\x11\xf4")
            vm.on_port(0x10)(lambda vcpu, exit: [exit.pio, 5][1])
            return (vm, vcpu), vm.close

        def use(things):
            vm, vcpu = things
            vm.find_vcpu(0), vcpu.cpuid(), vcpu.registers(), vcpu.get_state().asdict()
            vm.on_port(0x11)(lambda vcpu, exit: Answer.STOP)
            vcpu.run()
            vm.vcpu(1), vm.memory(0x20000, 0x1000)

        self.everywhere(prepare, use)

    def test_lockstep(self):
        def prepare():
            vms = world(b"\xe4\x10\xf4"), world(b"\xe4\x10\xf4")
            vms[1][1].rbx = 5
            lockstep = Lockstep(vms[0][1], vms[1][1], exit=lambda lockstep, exit: [5][0])
            return lockstep, lockstep.close

        self.everywhere(prepare, lambda lockstep: (lockstep.run(), lockstep.differences(), lockstep.report()))


class CallbacksThatClose(unittest.TestCase):
    def test_handler(self):
        vm, vcpu = world(b"\xe6\x10\xe6\x10\xf4")
        ring = Ring(vm)
        ring.watch(HandlerKind.PIO, 0x20)
        refused = []

        @vm.on_port(0x10)
        def port(vcpu, exit):
            for close in (vm.close, handler.remove, other.remove, ring.close, region.remove):
                try:
                    close()
                except vmlib.Error as error:
                    refused.append(type(error))
            exit.value, exit.pio.value, vcpu.rax
            gc.collect()

        handler, other, region = port, vm.on_port(0x11)(print), vm.memory(0x20000, 0x1000)
        self.assertIs(vcpu.run().reason, Reason.PIO)  # it has removed itself
        self.assertEqual(refused, [vmlib.BusyError])

    def test_output(self):
        def output(data):
            for close in (pc.close, pc.vm.close):
                with self.assertRaises(vmlib.BusyError):
                    close()
            with self.assertRaises((vmlib.Error, TypeError)):
                pc.add_console(print)

        pc, vcpu = machine(serial=output)
        pc.run_vcpu(vcpu)

    def test_log(self):
        vms = []

        def log(level, text):
            for vm in vms:
                vm.close()
            gc.collect()

        vms.append(VM(BACKEND, log=log))
        VM(BACKEND, log=log)
        with self.assertRaises(vmlib.StateError):
            vms[0].vcpu()

    def test_console_of_two_machines(self):
        console = Console()
        first, vcpu = machine(serial=console)
        with self.assertRaises(vmlib.StateError):
            Machine(VM(BACKEND), serial=console)
        other, other_vcpu = machine()
        with self.assertRaises(vmlib.StateError):
            other.add_console(console)
        with self.assertRaises(vmlib.StateError):
            console.start(other, [other_vcpu])
        first.close()  # not started: free again
        second, vcpu = machine(serial=console)
        console.start(second, [vcpu])
        console.close()
        with self.assertRaises((TypeError, vmlib.StateError)):
            machine(serial=console)
        second.close()

    def test_deep_nesting(self):
        """A handler runs another VM whose handler runs another VM."""
        def build(depth):
            vm, vcpu = world(b"\xe6\x10\xf4")

            def port(vcpu, exit):
                if depth:
                    build(depth - 1).run()
                else:
                    raise LookupError("bottom")

            vm.on_port(0x10)(port)
            return vcpu

        with self.assertRaises(LookupError):
            build(12).run()

    def test_recursion_error(self):
        vm, vcpu = world(b"\xe6\x10\xf4")

        def forever(*args):
            return forever(*args)

        vm.on_port(0x10)(forever)
        with self.assertRaises(RecursionError):
            vcpu.run()


class Threads(unittest.TestCase):
    def test_everybody_at_once(self):
        """Four threads use the same objects, in all ways, while one runs the guest."""
        vm, vcpu = world(b"\xe4\x10\xe6\x11" + b"\xeb\xfa")
        vm.on_port(0x10)(lambda vcpu, exit: 7)
        ring = Ring(vm, 1 << 10)
        ring.watch(HandlerKind.PIO, 0x11)
        done = threading.Event()
        failures = []

        def use(k):
            try:
                for i in range(150):
                    for call in (lambda: vcpu.rax, vcpu.cancel, lambda: vm.read(0x1000, 4), lambda: vcpu.run(deadline_ns=10**5),
                                 lambda: vm.memory(0x100000 * (k + 1), 0x1000).remove(), ring.take, vcpu.registers,
                                 lambda: vm.on_port(0x30 + k)(print).remove(), lambda: vcpu.complete(1),
                                 lambda: vm.find_vcpu(0).index, lambda: len(memoryview(ring))):
                        try:
                            call()
                        except (vmlib.Error, BufferError):
                            pass
            except BaseException as error:
                failures.append(error)

        def run():
            while not done.is_set():
                try:
                    vcpu.run(deadline_ns=10**6)
                except vmlib.Error:
                    pass

        runner = threading.Thread(target=run)
        threads = [threading.Thread(target=use, args=(k,)) for k in range(4)]
        for thread in threads + [runner]:
            thread.start()
        for thread in threads:
            thread.join()
        done.set()
        runner.join()
        self.assertEqual(failures, [])

    def test_close_against_everybody(self):
        for _ in range(20):
            pc, vcpu = machine(serial=lambda data: None)
            threads = [threading.Thread(target=self.quietly, args=(f,)) for f in
                       (lambda: pc.run_vcpu(vcpu), pc.close, pc.vm.close, pc.ram, pc.stats, lambda: pc.serial_input(b"x"),
                        lambda: vcpu.registers())]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()

    def quietly(self, call):
        try:
            call()
        except vmlib.Error:
            pass


class InterpreterExit(unittest.TestCase):
    """The interpreter ends in the middle of things: with the right status, and without a word."""

    PROLOGUE = """
import gc, os, sys, threading
sys.path.insert(0, {folder!r})
from test_hostile import *
"""

    def ends(self, program, status=0):
        code = self.PROLOGUE.format(folder=os.path.dirname(os.path.abspath(__file__))) + program
        result = subprocess.run([sys.executable, "-X", "faulthandler", "-c", code], capture_output=True, text=True, timeout=100)
        self.assertEqual((result.returncode, result.stderr), (status, ""))

    def test_running_vcpus(self):
        self.ends("""
for i in range(3):
    vm, vcpu = world(b"\\xe6\\x10\\xeb\\xfc")
    started = threading.Event()
    vm.on_port(0x10)(lambda vcpu, exit, started=started: started.set())
    threading.Thread(target=vcpu.run, daemon=True).start()
    started.wait()
""")

    def test_running_machine_and_console(self):
        self.ends("""
spin = b"\\xeb\\xfe".ljust(510, b"\\0") + b"\\x55\\xaa"
pc = Machine(VM(BACKEND), serial=(console := Console()))
pc.add_ram(1 << 20)
vcpu = pc.add_vcpu()
pc.vm.on_port(0x10)(print)
pc.boot(spin)
console.start(pc, [vcpu])
""")

    def test_running_lockstep(self):
        self.ends("""
lockstep = Lockstep(world()[1], world()[1], mask=lambda insn, mask, before: started.set())
started = threading.Event()
threading.Thread(target=lockstep.run, daemon=True).start()
started.wait()
""")

    def test_exit_inside_a_handler(self):
        self.ends("""
vm, vcpu = world(b"\\xe6\\x10\\xf4")
vm.on_port(0x10)(lambda vcpu, exit: sys.exit(7))
vcpu.run()
""", 7)
        self.ends("""
vm, vcpu = world(b"\\xe6\\x10\\xf4")
vm.on_port(0x10)(lambda vcpu, exit: os._exit(7))
vcpu.run()
""", 7)

    def test_objects_that_outlive_the_module(self):
        self.ends("""
import builtins
builtins.kept = world() + (Ring(world()[0]), machine(serial=print), memoryview(world()[0].memory(0x20000, 0x1000)))
class Late:
    def __init__(self): self.vm, self.vcpu = world(b"\\xe6\\x10\\xf4"); self.vm.on_port(0x10)(self.port)
    def port(self, vcpu, exit): pass
    def __del__(self): self.vcpu.run(); self.vm.close()
late = Late()
builtins.late = Late()
""")


if __name__ == "__main__":
    main()
