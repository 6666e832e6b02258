"""Tests of the tools: event ring, guest calls, console. Arguments: folders of the guests and the examples' guests."""
import gc
import os
import pathlib
import signal
import sys
import threading
import unittest
import zlib

import vmlib
from vmlib import (VM, CallEnd, Console, Feature, HandlerKind, Machine, MachineEnd, Reason, Ring, boot_load, double, elf_symbol,
                   signed)

from backend import BACKEND, main, needs, not_emulated

guests, units = (pathlib.Path(p) for p in sys.argv[1:3])


def world(code):
    vm = VM(BACKEND)
    vm.memory(0, 0x10000)
    vm.write(0x1000, code)
    vcpu = vm.vcpu()
    cs = vcpu.cs
    cs.base = cs.selector = 0
    vcpu.cs = cs
    vcpu.rip = 0x1000
    return vm, vcpu


class Rings(unittest.TestCase):
    THREE = b"\xe4\x10\xe6\x11\xe7\x12\xf4"  # in al, 0x10; out 0x11, al; out 0x12, ax; hlt

    def test_events(self):
        vm, vcpu = world(self.THREE)
        with Ring(vm, capacity=2) as ring:
            ring.watch(HandlerKind.PIO, 0x10, 0x1f, answer=0x1234)
            self.assertIs(vcpu.run().reason, Reason.STOPPED)
            self.assertEqual(list(ring.events()), [(0x10, 0x34, 0, 0, 1, 0), (0x11, 0x34, 0, 0, 1, 1)])
            self.assertEqual(ring.take(), b"")
            self.assertIs(vcpu.run().reason, Reason.HLT)
            self.assertEqual([event[0] for event in ring.events()], [0x12])
        with self.assertRaises(vmlib.StateError):
            ring.take()

    def test_buffer(self):
        vm, vcpu = world(self.THREE)
        ring = Ring(vm, 4)
        ring.watch(HandlerKind.PIO, 0x10, 0x1f)
        vcpu.run()
        with memoryview(ring) as view:
            self.assertTrue(view.readonly)
            self.assertEqual(len(view), 3 * 24)
            for call in (lambda: ring.consume(1), ring.take, ring.close):
                with self.assertRaises(BufferError):
                    call()
        ring.consume(2)
        with self.assertRaises(vmlib.RangeError):
            ring.consume(2)
        self.assertEqual(len(list(ring.events())), 1)
        view = memoryview(ring)
        del ring, vm, vcpu
        gc.collect()
        self.assertEqual(len(view), 0)

    def test_full(self):
        vm, vcpu = world(self.THREE)
        ring = Ring(vm, 1, drop=True)
        ring.watch(HandlerKind.PIO, 0x10, 0x1f)
        self.assertIs(vcpu.run().reason, Reason.HLT)
        self.assertEqual(ring.lost, 2)
        vm, vcpu = world(self.THREE)
        ring = Ring(vm, 1)
        ring.watch(HandlerKind.PIO, 0x10, 0x1f)
        vcpu.run()
        with self.assertRaises(vmlib.LimitError):
            vcpu.run()
        for wrong in (lambda: Ring(3), lambda: Ring(vm, 3), lambda: ring.watch(HandlerKind.CPUID, 0),
                      lambda: ring.watch(0, 2, 1), lambda: ring.watch("x", 1)):
            with self.assertRaises((TypeError, ValueError)):
                wrong()


class Calls(unittest.TestCase):
    def load(self, name):
        self.elf = (units / name).read_bytes()
        self.vm = VM(BACKEND)
        self.vm.memory(0, 2 << 20)
        self.vcpu = self.vm.vcpu()
        boot_load(self.vcpu, self.elf)

    def call(self, name, *args, **options):
        if vmlib.backend_feature(self.vm.backend, Feature.BUDGET) is vmlib.Support.REFUSED:
            options = {"budget": 0, "exceptions": 0, "deadline_ns": 10**10} | options
        return self.vcpu.call(elf_symbol(self.elf, name)[0], *args, stack=0x80000, **options)

    def test_everywhere(self):
        self.load("units")
        result = self.call("crc32", b"123456789", 9)
        self.assertIs(result.end, CallEnd.RETURNED)
        self.assertEqual(result.value & 0xffffffff, zlib.crc32(b"123456789"))
        self.assertIs(self.call("forever", budget=0, deadline_ns=1000000).end, CallEnd.LIMIT)

    @needs(Feature.BUDGET, Feature.EXCEPTION_EXITS)
    def test_both_widths(self):
        for name in ("units", "units32"):
            self.load(name)
            result = self.call("crc32", b"123456789", 9)
            self.assertIs(result.end, CallEnd.RETURNED)
            self.assertEqual(result.value & 0xffffffff, zlib.crc32(b"123456789"))
            word = bytearray(b"drawer")
            self.call("reverse", word, 6)
            self.assertEqual(word, b"reward")
            self.assertEqual(signed(self.call("divide", -100, 7).value, 32), -14)
            result = self.call("divide", 1, 0)
            self.assertEqual((result.end, result.exit.exception.event.vector), (CallEnd.FAULT, 0))
            self.assertIs(self.call("forever", budget=1000).end, CallEnd.LIMIT)
            self.assertEqual(self.call("weigh", *range(1, 9)).value & 0xffffffff, 204)

    def test_double(self):
        self.load("units")
        self.assertEqual(double(self.call("average", 1.5, 4.5).xmm0), 3.0)

    def test_wrong(self):
        self.load("units")
        for wrong in (lambda: self.vcpu.call(), lambda: self.vcpu.call("x"), lambda: self.call("weigh", *range(17)),
                      lambda: self.call("weigh", "text"), lambda: self.call("weigh", None),
                      lambda: self.call("weigh", colour=1)):
            with self.assertRaises(TypeError):
                wrong()
        with self.assertRaises(vmlib.NotFoundError):
            elf_symbol(self.elf, "nothing")
        with self.assertRaises(vmlib.InvalidError):
            elf_symbol(b"short", "crc32")
        with self.assertRaises(vmlib.UnsupportedError):
            world(b"\xf4")[1].call(0)
        data = bytearray(8)
        with self.assertRaises(vmlib.GuestMemoryError):
            self.vcpu.call(0x100000, data, stack=1 << 40)
        data.append(1)  # and it is not held any more

    def test_exception_in_a_handler(self):
        self.load("parser")
        self.vm.on_port(0x100)(lambda vcpu, exit: 1 // 0)
        with self.assertRaises(ZeroDivisionError):
            self.call("parse", b"VM", 2)

    def test_ctrl_c(self):
        self.load("units")
        threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT)).start()
        with self.assertRaises(KeyboardInterrupt):
            self.call("forever", budget=0)


class Consoles(unittest.TestCase):
    def machine(self, **options):
        vm = VM(BACKEND)
        console = Console(**options)
        machine = Machine(vm, serial=console)
        machine.add_ram(1 << 20)
        vcpu = machine.add_vcpu()
        machine.boot((guests / "prompt").read_bytes())
        return console, machine, vcpu

    def test_dialogue(self):
        console, machine, vcpu = self.machine()
        with console:
            with self.assertRaises(vmlib.StateError):
                console.send("x")
            console.start(machine, [vcpu])
            with self.assertRaises(vmlib.StateError):
                console.start(machine, [vcpu])
            self.assertEqual(console.expect("password", "name? ", timeout=60), 1)
            with self.assertRaises(vmlib.LimitError):
                console.expect("never", timeout=0.01)
            for call in (machine.close, vcpu.registers, vcpu.run, lambda: machine.run_vcpu(vcpu)):
                with self.assertRaises(vmlib.BusyError):
                    call()
            self.assertGreater(vcpu.generation, 0)
            console.send("Ada\n")
            console.expect(b"!")
            self.assertEqual(console.before, b"hello, Ada")
            result = console.wait(timeout=60)
            self.assertEqual((result.end, result.value), (MachineEnd.DEBUG_EXIT, 0x12))
            with self.assertRaises(vmlib.NotFoundError):
                console.expect("more")
        with self.assertRaises(vmlib.StateError):
            console.expect("more")
        machine.close()

    def test_end_in_the_middle(self):
        console, machine, vcpu = self.machine()
        console.start(machine, [vcpu])
        console.close()
        machine.close()
        console, machine, vcpu = self.machine()
        console.start(machine, (vcpu,))
        del console, machine, vcpu
        gc.collect()

    def test_close_from_another_thread(self):
        console, machine, vcpu = self.machine()
        console.start(machine, [vcpu])
        machine_ended = threading.Timer(0.05, machine.stop)
        machine_ended.start()
        with self.assertRaises(vmlib.NotFoundError):
            console.expect("never", timeout=60)
        self.assertIs(console.wait().end, MachineEnd.STOPPED)
        machine_ended.join()
        console.close()

    def test_ctrl_c(self):
        console, machine, vcpu = self.machine()
        with console:
            console.start(machine, [vcpu])
            threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT)).start()
            with self.assertRaises(KeyboardInterrupt):
                console.expect("never", timeout=60)

    def test_python_handlers_on_its_threads(self):
        console, machine, vcpu = self.machine()
        ports = []
        machine.vm.on_port(0x3fd)(lambda vcpu, exit: (ports.append(exit.port), vmlib.Answer.PASS)[1])
        with console:
            console.start(machine, [vcpu])
            console.expect("name? ", timeout=60)
            console.send("x\n")
            console.wait(timeout=60)
        self.assertGreater(len(ports), 0)
        console, machine, vcpu = self.machine()
        machine.vm.on_port(0x3fd)(lambda vcpu, exit: 1 // 0)
        with console:
            console.start(machine, [vcpu])
            with self.assertRaises(ZeroDivisionError):
                console.wait(timeout=60)

    def test_wrong(self):
        for wrong in (lambda: Console(5), lambda: Console(limit="x"), lambda: Console(limit=1),
                      lambda: self.machine()[0].start(3, []), lambda: self.machine()[0].expect(),
                      lambda: self.machine()[0].expect(5), lambda: self.machine()[0].wait(5)):
            with self.assertRaises((TypeError, ValueError)):
                wrong()
        console, machine, vcpu = self.machine()
        with self.assertRaises(vmlib.InvalidError):
            console.start(machine, [])
        with self.assertRaises(TypeError):
            console.start(machine, [1])


if __name__ == "__main__":
    main()
