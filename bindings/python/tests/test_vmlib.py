"""Tests of the Python module. Guest code is 16-bit real mode at 0:1000 unless a test says otherwise."""
import ctypes
import gc
import os
import pickle
import signal
import subprocess
import sys
import threading
import traceback
import unittest
import weakref

import vmlib
from vmlib import (VM, Access, Answer, Backend, BackendInfo, BreakpointKind, DoorbellKind, Error, ErrorCode, Event,
                   EventFlag, EventType, ExitFlag, Feature, HandlerKind, Initial, Machine, MachineEnd, Mode, Prot,
                   Reason, Reg, RegionFlag, Segment, StateGroup, Support, TimeMode, enums)

from backend import BACKEND, main, needs, not_emulated

HLT = b"\xf4"
SPIN = b"\xeb\xfe"


def start(vm, code, origin=0x1000, **registers):
    vm.write(origin, code)
    vcpu = vm.vcpu()
    cs = vcpu.cs
    cs.selector = 0
    cs.base = 0
    vcpu.cs = cs
    vcpu.set(rip=origin, rsp=0x8000, **registers)
    return vcpu


def world(code, **registers):
    vm = VM(BACKEND)
    vm.memory(0, 0x10000)
    return vm, start(vm, code, **registers)


class Generated(unittest.TestCase):
    def test_numbers_are_those_of_the_compiler(self):
        members = {name: set() for _, name in vmlib._core._constants.values() if name}
        for name, (value, enum) in vmlib._core._constants.items():
            if enum is None:
                self.assertEqual(getattr(enums, name) & 2**64 - 1, value & 2**64 - 1, name)
            else:
                members[enum].add(value)
                self.assertIn(value, [int(m) for m in getattr(enums, enum).__members__.values()], name)
        for enum, values in members.items():
            found = {int(m) for m in getattr(enums, enum).__members__.values()}
            if enum != "Reg":  # XMM, YMM and ST have one constant for all
                self.assertEqual(found, values, enum)

    def test_names(self):
        self.assertEqual(Reason.HLT.name.lower(), "hlt")
        self.assertEqual(Reg.XMM15, Reg.XMM0 + 15)
        self.assertEqual(vmlib.version(), (enums.VERSION_MAJOR, enums.VERSION_MINOR, enums.VERSION_PATCH))


class Records(unittest.TestCase):
    def test_members(self):
        segment = Segment(base=0x12345, limit=0xffff, selector=8)
        self.assertEqual(segment.base, 0x12345)
        segment.attributes = 0x9b
        self.assertEqual(segment.asdict(), {"base": 0x12345, "limit": 0xffff, "attributes": 0x9b, "selector": 8})
        self.assertEqual(segment, segment.copy())
        self.assertNotEqual(segment, Segment())
        self.assertIn("base=0x12345", repr(segment))
        self.assertEqual(len(segment.raw()), 24)

    def test_wrong_values(self):
        segment = Segment()
        for value, error in ((-1, OverflowError), (2**16, OverflowError), ("1", TypeError), (1.0, TypeError),
                             (None, TypeError)):
            with self.assertRaises(error):
                segment.selector = value
        with self.assertRaises(TypeError):
            del segment.base
        with self.assertRaises(AttributeError):
            Segment(colour=1)
        with self.assertRaises(TypeError):
            Segment(1)
        with self.assertRaises(TypeError):
            vmlib.Record()
        with self.assertRaises(AttributeError):
            vmlib.Exit().value

    def test_parts_hold_their_whole(self):
        state = vmlib.State()
        gpr = state.gpr
        gpr.rax = 5
        self.assertEqual(state.gpr.rax, 5)
        del state
        gc.collect()
        self.assertEqual(gpr.rax, 5)
        state = vmlib.State(gpr=gpr)
        self.assertEqual(state.gpr, gpr)
        with self.assertRaises(TypeError):
            state.gpr = Segment()

    def test_copies(self):
        import copy

        segment = Segment(base=5, selector=8)
        for other in (copy.copy(segment), copy.deepcopy(segment), pickle.loads(pickle.dumps(segment)),
                      Segment.from_raw(segment.raw())):
            self.assertIs(type(other), Segment)
            self.assertEqual(other, segment)
        vm, vcpu = world(HLT)
        saved = pickle.dumps(vcpu.get_state())  # of one vCPU, for another
        other_vm, other = world(HLT)
        state = pickle.loads(saved)
        state.gpr.rbx = 77
        other.set_state(state, StateGroup.GPR | StateGroup.SEGMENTS)
        self.assertEqual(other.rbx, 77)
        part = pickle.loads(pickle.dumps(state.gpr))
        self.assertEqual(part.rbx, 77)
        state = vmlib.State.from_raw(bytes(len(state.raw())))
        vcpu.set_state(state, 0)  # it knows its size
        for wrong in (b"short", 3, "text", None):
            with self.assertRaises((TypeError, ValueError)):
                Segment.from_raw(wrong)
        with self.assertRaises(TypeError):
            vmlib.Record.from_raw(b"")
        with self.assertRaises(TypeError):
            pickle.dumps(vm)

    def test_arrays(self):
        debug = vmlib.Debug(dr=(1, 2, 3, 4))
        self.assertEqual(debug.dr, (1, 2, 3, 4))
        for wrong in ((1, 2, 3), (1, 2, 3, -4), 7):
            with self.assertRaises((ValueError, TypeError, OverflowError)):
                debug.dr = wrong
        self.assertEqual(debug.dr, (1, 2, 3, 4))
        with self.assertRaises(ValueError):
            vmlib.Fpu().image = b"short"


class Errors(unittest.TestCase):
    def test_codes_and_details(self):
        with VM(BACKEND) as vm:
            vm.memory(0, 0x1000)
            with self.assertRaises(vmlib.ExistsError) as caught:
                vm.memory(0, 0x1000)
            self.assertIs(caught.exception.code, ErrorCode.EXISTS)
            self.assertTrue(caught.exception.detail)
            with self.assertRaises(vmlib.GuestMemoryError):
                vm.read(0x5000, 1)
            with self.assertRaises(ValueError):  # errors are also what Python programs expect
                vm.memory(1, 0x1000)
        with self.assertRaises(LookupError):
            VM("abacus")
        again = pickle.loads(pickle.dumps(caught.exception))
        self.assertEqual((again.code, str(again)), (caught.exception.code, str(caught.exception)))

    def test_wrong_types(self):
        with VM(BACKEND) as vm:
            for call in (lambda: VM(backends=1.5), lambda: VM(seed="x"), lambda: vm.memory("0", 1),
                         lambda: vm.write(0, "text"), lambda: vm.read(0, "x"), lambda: vm.on_port(1, 2, 3),
                         lambda: vm.doorbell(0, 0, function=3), lambda: vm.set_cpuid([1]), lambda: vm.set_cpuid(3),
                         lambda: Machine(3), lambda: vm.memory(0, 4096, host=b"readonly"),
                         lambda: vm.memory(0, 4096, alias=3), lambda: vmlib.boot_load(3, b""), lambda: VM(log=3),
                         lambda: vm.vcpu().inject(3), lambda: vm.vcpu(1).set(rax="x")):
                with self.assertRaises((TypeError, BufferError)):
                    call()
            vcpu = vm.vcpu(2)
            with self.assertRaises(TypeError):
                vcpu.set(nonsense=1)
            with self.assertRaises(OverflowError):
                vcpu.rax = 2**64
            with self.assertRaises(OverflowError):
                vm.on_port(-1)(print)
            with self.assertRaises(TypeError):
                vcpu.cs = vmlib.Table()
            with self.assertRaises(ValueError):
                vcpu.xmm0 = b"short"
            with self.assertRaises(ValueError):
                vm.read(0, -1)
        for cls in (vmlib.VCPU, vmlib.Region, vmlib.Handler):
            with self.assertRaises(TypeError):
                cls()

    def test_use_after_close(self):
        vm, vcpu = world(HLT)
        region = vm.memory(0x10000, 0x1000)
        handler = vm.on_port(1)(lambda vcpu, exit: None)
        view = memoryview(region)
        vm.close()
        vm.close()
        self.assertTrue(vm.closed)
        for call in (vcpu.run, vcpu.cancel, vcpu.registers, lambda: vm.read(0, 1), lambda: vm.clock,
                     lambda: vm.memory(0, 4096), lambda: vm.on_port(1)(print), lambda: vcpu.rax, vcpu.nmi,
                     lambda: Machine(vm), lambda: vm.backend):
            with self.assertRaises(vmlib.StateError):
                call()
        view[0] = 1  # the memory is still there
        self.assertEqual(bytes(region)[0], 1)
        handler.remove()
        del vm, vcpu, handler, region
        gc.collect()
        self.assertEqual(view[0], 1)


class Running(unittest.TestCase):
    def test_port_handler(self):
        vm, vcpu = world(b"\xbe\x0f\x10\xba\xe9\x00\xac\x84\xc0\x74\x03\xee\xeb\xf8\xf4Hello\n\0")
        said = bytearray()

        @vm.on_port(0xe9)
        def port(vcpu, exit):
            self.assertEqual((exit.port, exit.width, exit.write), (0xe9, 1, True))
            said.append(exit.value)

        exit = vcpu.run()
        self.assertIs(exit.reason, Reason.HLT)
        self.assertIs(exit.mode, Mode.REAL)
        self.assertEqual(said, b"Hello\n")
        self.assertIs(vm.backend, vmlib.backend_by_name(BACKEND))
        self.assertIs(vcpu.vm, vm)
        self.assertEqual(vcpu.generation, 2)

    def test_exit_and_complete(self):
        vm, vcpu = world(b"\xe4\x60\xe6\x61\xf4")  # in al, 0x60; out 0x61, al; hlt
        exit = vcpu.run()
        self.assertIs(exit.reason, Reason.PIO)
        self.assertEqual((exit.port, exit.write, exit.flags & ExitFlag.PENDING), (0x60, False, ExitFlag.PENDING))
        self.assertEqual(exit.insn[:2], b"\xe4\x60")
        self.assertEqual(exit.data.port, 0x60)
        with self.assertRaises(vmlib.StateError):
            vcpu.run()
        with self.assertRaises(OverflowError):
            vcpu.complete(256)
        vcpu.complete(0x5a)
        exit = vcpu.run()
        self.assertEqual((exit.port, exit.value, exit.write), (0x61, 0x5a, True))
        with self.assertRaises(vmlib.StateError):
            vcpu.complete(1)
        self.assertIs(vcpu.run().reason, Reason.HLT)

    def test_answers(self):
        # in al, 0x60; mov [0x5000], al; mov ax, 0xd000; mov ds, ax; mov al, [0]; mov [1], al; hlt
        vm, vcpu = world(b"\xe4\x60\xa2\x00\x50\xb8\x00\xd0\x8e\xd8\xa0\x00\x00\xa2\x01\x00\xf4")
        log = []

        @vm.handler(HandlerKind.PIO, 0x60)
        def port(vcpu, exit):
            return 0x42

        @vm.on_mmio(0xd0000, 0xd0fff, header=True)
        def device(vcpu, exit):
            log.append((exit.rip, exit.address, exit.value if exit.write else None))
            return None if exit.write else 0x77

        self.assertIs(vcpu.run().reason, Reason.HLT)
        self.assertEqual(vm.read(0x5000, 1), b"\x42")
        self.assertEqual(log, [(0x100a, 0xd0000, None), (0x100d, 0xd0001, 0x77)])

    def test_pass_stop_and_removal(self):
        vm, vcpu = world(b"\xe6\x10\xe6\x10\xe6\x10\xf4")
        vm.on_port(0x10)(lambda vcpu, exit: Answer.STOP)
        upper = vm.on_port(0x10)(lambda vcpu, exit: Answer.PASS)
        self.assertIs(vcpu.run().reason, Reason.STOPPED)
        upper.remove()
        with self.assertRaises(vmlib.NotFoundError):
            upper.remove()
        self.assertIs(vcpu.run().reason, Reason.STOPPED)
        vm.handler(HandlerKind.PIO, 0x10)  # a decorator that nobody uses
        self.assertIs(vcpu.run().reason, Reason.STOPPED)

    def test_inject_from_handler(self):
        vm, vcpu = world(b"\xe6\x10\xf4")
        vm.write(13 * 4, b"\x00\x20\x00\x00")  # vector 13: 0:2000
        vm.write(0x2000, HLT)

        @vm.on_port(0x10)
        def port(vcpu, exit):
            return Event(type=EventType.EXCEPTION, vector=13, flags=EventFlag.ERROR)

        exit = vcpu.run()
        self.assertEqual((exit.reason, exit.rip), (Reason.HLT, 0x2001))

    def test_wrong_answers(self):
        for answer, error in (("text", TypeError), (1.5, TypeError), (256, OverflowError), (-1, OverflowError),
                              (True, TypeError), ((1, 2), TypeError)):
            vm, vcpu = world(b"\xe4\x60\xf4")
            vm.on_port(0x60)(lambda vcpu, exit: answer)
            with self.assertRaises(error):
                vcpu.run()
        vm, vcpu = world(b"\xe6\x60\xf4")
        vm.on_port(0x60)(lambda vcpu, exit: 1)  # a write has no value to answer
        with self.assertRaises(TypeError):
            vcpu.run()

    def test_exceptions_propagate_and_the_run_repeats(self):
        vm, vcpu = world(b"\xe4\x60\xf4")
        calls = []

        @vm.on_port(0x60)
        def port(vcpu, exit):
            calls.append(vcpu.rip)
            if len(calls) == 1:
                raise KeyError("first")
            return 7

        try:
            vcpu.run()
        except KeyError as error:
            self.assertEqual(traceback.extract_tb(error.__traceback__)[-1].name, "port")
        else:
            self.fail("no exception")
        self.assertIs(vcpu.run().reason, Reason.HLT)
        self.assertEqual(calls, [0x1000, 0x1000])
        self.assertEqual(vcpu.rax & 0xff, 7)

    def test_record_kept_by_a_handler(self):
        vm, vcpu = world(b"\xb0\x01\xe6\x10\xb0\x02\xe6\x10\xf4")
        kept = []
        vm.on_port(0x10)(lambda vcpu, exit: kept.append((exit, exit.pio)))
        vcpu.run()
        del vm, vcpu
        gc.collect()
        self.assertEqual([(e.value, p.value) for e, p in kept], [(1, 1), (2, 2)])

    @needs(Feature.CPUID_HANDLERS, Feature.MSR_HANDLERS, Feature.HYPERCALL_HANDLERS)
    def test_cpuid_msr_hypercall(self):
        # xor eax, eax; cpuid; rdmsr; vmcall; hlt   (32-bit operands)
        vm, vcpu = world(b"\x66\x31\xc0\x0f\xa2\x66\x31\xc9\x0f\x32\x66\xb8\x09\0\0\0\x0f\x01\xc1\xf4")
        seen = []
        vm.on_cpuid(0)(lambda vcpu, exit: (seen.append(exit.cpuid.ebx), (1, 2, 0, 4))[1])
        vm.on_msr(0)(lambda vcpu, exit: 0x1122334455667788)
        vm.on_hypercall(9)(lambda vcpu, exit: (seen.append((vcpu.rdx, exit.hypercall.rbx)), 0xabcd)[1])
        exit = vcpu.run()
        self.assertIs(exit.reason, Reason.HLT)
        self.assertEqual(seen[1], (0x11223344, 2))
        self.assertEqual(vcpu.rax, 0xabcd)

    @needs(Feature.BUDGET)
    def test_budget(self):
        vm, vcpu = world(SPIN)
        exit = vcpu.run(budget=1000)
        self.assertEqual((exit.reason, exit.instructions), (Reason.BUDGET, 1000))

    def test_deadline_and_cancel(self):
        vm, vcpu = world(SPIN)
        self.assertIs(vcpu.run(deadline_ns=1000000).reason, Reason.DEADLINE)
        vcpu.cancel()
        self.assertIs(vcpu.run().reason, Reason.CANCELLED)
        vcpu.cancel(vcpu.generation)
        self.assertIs(vcpu.run().reason, Reason.CANCELLED)
        with self.assertRaises(vmlib.StateError):
            vcpu.run(generation=1)

    @needs(Feature.SINGLE_STEP)
    def test_step(self):
        vm, vcpu = world(SPIN)
        exit = vcpu.run(step=True)
        self.assertEqual((exit.reason, exit.debug.cause), (Reason.DEBUG, vmlib.DebugCause.STEP))

    @needs(Feature.BREAKPOINTS)
    @not_emulated("breakpoints of the host do not fire")
    def test_breakpoints(self):
        vm, vcpu = world(b"\xa3\x00\x20\x90" + SPIN)  # mov [0x2000], ax; nop
        vcpu.set_breakpoint(0, 0x1003)
        vcpu.set_breakpoint(1, 0x2000, BreakpointKind.WRITE, 2)
        exit = vcpu.run(deadline_ns=10**10)
        self.assertEqual((exit.debug.cause, exit.debug.slots, exit.debug.address),
                         (vmlib.DebugCause.WATCHPOINT, 2, 0x2000))
        exit = vcpu.run(deadline_ns=10**10)
        self.assertEqual((exit.debug.cause, exit.debug.slots, exit.debug.address),
                         (vmlib.DebugCause.BREAKPOINT, 1, 0x1003))
        vcpu.set_breakpoint(0, None)
        self.assertIs(vcpu.run(deadline_ns=1000000).reason, Reason.DEADLINE)

    def test_interrupts(self):
        vm, vcpu = world(b"\xfb" + SPIN)  # sti; jmp $
        vm.write(0x21 * 4, b"\x00\x20\x00\x00")
        vm.write(0x2000, HLT)

        @vm.on_intack(0)
        def acknowledge(vcpu, exit):
            vcpu.set_intr(0)
            return 0x21

        vcpu.set_intr(1)
        exit = vcpu.run(deadline_ns=10**10)
        self.assertEqual((exit.reason, exit.rip), (Reason.HLT, 0x2001))
        vm, vcpu = world(b"\xfb" + SPIN)
        vcpu.request_interrupt_window(1)
        self.assertIs(vcpu.run(deadline_ns=10**10).reason, Reason.INTERRUPT_WINDOW)
        vcpu.inject(Event(type=EventType.INTERRUPT, vector=0x21))
        vm.write(0x21 * 4, b"\x00\x20\x00\x00")
        vm.write(0x2000, HLT)
        self.assertIs(vcpu.run(deadline_ns=10**10).reason, Reason.HLT)

    @needs(Feature.EXCEPTION_EXITS)
    def test_exception_exits(self):
        vm, vcpu = world(b"\x0f\x0b")  # ud2
        vcpu.set_exception_exits(1 << 6)
        exit = vcpu.run(deadline_ns=10**10)
        self.assertEqual((exit.reason, exit.exception.event.vector), (Reason.EXCEPTION, 6))
        self.assertIs(exit.exception.event.type, EventType.EXCEPTION)

    def test_doorbells(self):
        vm, vcpu = world(b"\xb0\x05\xe6\x10\xe6\x11\xf4")
        rung = []
        vm.doorbell(DoorbellKind.PIO, 0x10, rung.append)
        reader, writer = os.pipe()
        bell = vm.doorbell(DoorbellKind.PIO, 0x11, fd=writer, width=1)
        self.assertIs(vcpu.run().reason, Reason.HLT)
        self.assertEqual(rung, [5])
        self.assertEqual(os.read(reader, 8), b"\x01" + bytes(7))
        bell.remove()
        os.close(reader)
        os.close(writer)
        vm, vcpu = world(b"\xe6\x10" + SPIN)
        vm.doorbell(DoorbellKind.PIO, 0x10, lambda value: 1 // 0)
        with self.assertRaises(ZeroDivisionError):
            vcpu.run()


class Registers(unittest.TestCase):
    def test_each(self):
        vm, vcpu = world(HLT)
        for i, name in enumerate(("rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8", "r15")):
            setattr(vcpu, name, 0x1111 * (i + 1))
            self.assertEqual(vcpu.registers()[name], 0x1111 * (i + 1))
        vcpu.xmm3 = bytes(range(16))
        self.assertEqual(vcpu.xmm3, bytes(range(16)))
        vcpu.gdtr = vmlib.Table(base=0x7000, limit=0x27)
        self.assertEqual((vcpu.gdtr.base, vcpu.gdtr.limit), (0x7000, 0x27))
        with self.assertRaises(vmlib.InvalidError):
            vcpu.cr4 = 1 << 63
        with self.assertRaises(AttributeError):
            vcpu.eax

    def test_bulk(self):
        vm, vcpu = world(HLT)
        state = vcpu.get_state(StateGroup.GPR | StateGroup.SEGMENTS)
        self.assertEqual(state.gpr.rip, 0x1000)
        state.gpr.rbx = 77
        state.segments.ds.base = 0x500
        vcpu.set_state(state, StateGroup.GPR | StateGroup.SEGMENTS)
        self.assertEqual((vcpu.rbx, vcpu.ds.base), (77, 0x500))
        everything = vcpu.get_state()
        vcpu.set_state(everything)
        self.assertEqual(everything.gpr, vcpu.get_state().gpr)
        self.assertEqual(everything.xsave, vcpu.get_state().xsave)
        state.control.cr0 = 1 << 31  # paging without protection
        with self.assertRaises(vmlib.InvalidError):
            vcpu.set_state(state, StateGroup.CONTROL)
        self.assertTrue(any(leaf.leaf == 1 for leaf in vcpu.cpuid()))
        vm.set_cpuid(vcpu.cpuid())
        self.assertEqual(len(vm.vcpu(1).cpuid()), len(vcpu.cpuid()))


class Memory(unittest.TestCase):
    def test_buffers(self):
        vm = VM(BACKEND)
        region = vm.memory(0x10000, 0x4000, flags=RegionFlag.DIRTY_LOG)
        self.assertEqual((len(region), region.gpa), (0x4000, 0x10000))
        view = region.view
        view[5] = 9
        region.written(5, 1)
        self.assertEqual(vm.read(0x10005, 1), b"\x09")
        vm.write(0x11000, b"abc")
        self.assertEqual(bytes(view[0x1000:0x1003]), b"abc")
        self.assertEqual(region.dirty(clear=True), [0, 0x1000])
        self.assertEqual(region.dirty(), [])
        region.write(0x3fff, b"x")
        self.assertEqual(region.dirty(offset=0x3000, size=0x1000), [0x3000])
        with self.assertRaises(vmlib.RangeError):
            region.write(0x3fff, b"xy")
        with self.assertRaises(vmlib.RangeError):
            region.written(0, 0x5000)
        (ctypes.c_char * 0x4000).from_buffer(region)[1] = b"z"
        self.assertEqual(vm.read(0x10001, 1), b"z")
        region.remove()
        with self.assertRaises(vmlib.NotFoundError):
            region.remove()
        del region, vm
        gc.collect()
        self.assertEqual(view[5], 9)

    def test_backings(self):
        import mmap

        vm = VM(BACKEND)
        host = mmap.mmap(-1, 0x2000)
        region = vm.memory(0, 0x2000, host=host)
        vm.write(0x1000, b"host")
        self.assertEqual(host[0x1000:0x1004], b"host")
        alias = vm.memory(0x100000, 0x1000, alias=region, offset=0x1000)
        self.assertEqual(vm.read(0x100000, 4), b"host")
        with self.assertRaises(BufferError):
            host.close()  # the guest still sees it
        with self.assertRaises(TypeError):
            vm.memory(0x200000, 0x1000, host=host, alias=region)
        with self.assertRaises(ValueError):
            vm.memory(0x200000, 0x10000, host=host)
        with open("/proc/self/exe", "rb") as file:
            vm.memory(0x300000, 0x1000, fd=file.fileno(), prot=Prot.R | Prot.X)
        self.assertEqual(vm.read(0x300000, 4), b"\x7fELF")
        del region, alias, vm
        gc.collect()
        host.close()

    def test_protection(self):
        vm, vcpu = world(b"\xa2\x00\x20\xf4")  # mov [0x2000], al
        rom = vm.memory(0x10000, 0x1000, flags=RegionFlag.ROM)
        vcpu.set(ds=Segment(base=0xe000, limit=0xffff, attributes=0x93))
        exit = vcpu.run()
        self.assertIs(exit.reason, Reason.MEMORY_FAULT)
        self.assertEqual((exit.memory_fault.gpa, exit.memory_fault.access), (0x10000, Access.WRITE))
        rom.remove()
        vm.memory(0x10000, 0x1000)
        self.assertIs(vcpu.run().reason, Reason.HLT)

    def test_virtual(self):
        vm, vcpu = world(HLT)
        vcpu.write(0x3000, b"abc")
        self.assertEqual(vcpu.read(0x3000, 3), b"abc")
        self.assertEqual(vcpu.translate(0x3000, Access.WRITE).gpa, 0x3000)
        with self.assertRaises(vmlib.GuestMemoryError):
            vcpu.read(0xffff0, 16)


class Life(unittest.TestCase):
    def test_cycles_through_handlers_are_collected(self):
        vm, vcpu = world(HLT)

        class Device:
            pass

        device = Device()
        device.vm, device.vcpu = vm, vcpu
        vm.on_port(1)(lambda vcpu, exit: device)
        gone = [weakref.ref(each) for each in (device, vm, vcpu)]
        del device, vm, vcpu
        gc.collect()
        self.assertEqual([ref() for ref in gone], [None, None, None])

    def test_any_order(self):
        import itertools

        for order in itertools.permutations(range(4)):
            vm, vcpu = world(HLT)
            things = [vm, vcpu, vm.memory(0x10000, 0x1000), vm.on_port(1)(lambda vcpu, exit: None)]
            del vm, vcpu
            for i in order:
                things[i] = None
                gc.collect(0)

    def test_everything_dropped_inside_a_handler(self):
        world_of = {}
        world_of["vm"], world_of["vcpu"] = world(b"\xe6\x10\xe6\x11\xf4")

        def port(vcpu, exit):
            world_of.clear()
            gc.collect()

        world_of["vm"].on_port(0x10, 0x11)(port)
        self.assertIs(world_of["vcpu"].run().reason, Reason.HLT)

    def test_handler_removes_itself(self):
        vm, vcpu = world(b"\xe6\x10\xe6\x10\xf4")
        mine = vm.on_port(0x10)(lambda vcpu, exit: mine.remove())
        self.assertIs(vcpu.run().reason, Reason.PIO)

    def test_close_while_running(self):
        vm, vcpu = world(b"\xe6\x10\xf4")
        answers = []

        @vm.on_port(0x10)
        def port(vcpu, exit):
            try:
                vm.close()
            except vmlib.BusyError as error:
                answers.append(error.code)

        self.assertIs(vcpu.run().reason, Reason.HLT)
        self.assertEqual(answers, [ErrorCode.BUSY])

    def test_run_inside_a_handler(self):
        vm, vcpu = world(b"\xe6\x10\xf4")
        other_vm, other = world(b"\xe6\x20\xf4")

        @vm.on_port(0x10)
        def port(vcpu, exit):
            with self.assertRaises(vmlib.BusyError):
                vcpu.run()
            self.assertIs(other.run().reason, Reason.PIO)
            vcpu.rcx = 5

        self.assertIs(vcpu.run().reason, Reason.HLT)
        self.assertEqual(vcpu.rcx, 5)

    def test_same_object(self):
        vm, vcpu = world(b"\xe6\x10\xf4")
        seen = []
        vm.on_port(0x10)(lambda vcpu, exit: seen.append(vcpu))
        vcpu.run()
        self.assertIs(seen[0], vcpu)


class Threads(unittest.TestCase):
    def test_cancel_from_another_thread(self):
        vm, vcpu = world(SPIN)
        thread = threading.Timer(0, vcpu.cancel)
        thread.start()
        self.assertIs(vcpu.run().reason, Reason.CANCELLED)
        thread.join()

    def test_many_machines(self):
        # mov cx, 500; l: out 0x10, al; dec cx; jnz l; hlt
        code = b"\xb9\xf4\x01\xe6\x10\x49\x75\xfb\xf4"
        counts = [0] * 4

        def machine(i):
            vm, vcpu = world(code)

            def port(vcpu, exit):
                counts[i] += 1

            vm.on_port(0x10)(port)
            assert vcpu.run().reason is Reason.HLT

        threads = [threading.Thread(target=machine, args=(i,)) for i in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(counts, [500] * 4)

    def test_the_interpreter_goes_on(self):
        vm, vcpu = world(SPIN)
        thread = threading.Thread(target=vcpu.run)
        thread.start()
        while vcpu.generation != 1:
            pass
        with self.assertRaises(vmlib.BusyError):
            while True:  # until the thread is inside run
                vcpu.rax
        with self.assertRaises(vmlib.BusyError):
            vm.close()
        vm.memory(0x20000, 0x1000).remove()
        vm.on_port(3)(lambda vcpu, exit: None).remove()
        vcpu.cancel()
        thread.join()

    def test_ctrl_c(self):
        vm, vcpu = world(SPIN)
        threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT)).start()
        with self.assertRaises(KeyboardInterrupt):
            vcpu.run()
        self.assertIs(vcpu.run(deadline_ns=1000).reason, Reason.DEADLINE)

    def test_signal_handlers_that_return(self):
        vm, vcpu = world(SPIN)
        seen = []

        def handler(number, frame):
            seen.append(number)
            if len(seen) == 3:
                vcpu.cancel()
            else:
                threading.Timer(0.01, os.kill, (os.getpid(), signal.SIGINT)).start()

        before = signal.signal(signal.SIGINT, handler)
        try:
            threading.Timer(0.01, os.kill, (os.getpid(), signal.SIGINT)).start()
            self.assertIs(vcpu.run().reason, Reason.CANCELLED)
        finally:
            signal.signal(signal.SIGINT, before)
        self.assertEqual(len(seen), 3)

    def test_interpreter_ends_while_a_guest_runs(self):
        program = ("import threading, vmlib\n"
                   f"vm = vmlib.VM({BACKEND!r}); vm.memory(0, 0x10000); vm.write(0x1000, b'\\xe6\\x10\\xeb\\xfc')\n"
                   "vcpu = vm.vcpu(); cs = vcpu.cs; cs.base = 0; vcpu.cs = cs; vcpu.rip = 0x1000\n"
                   "vm.on_port(0x10)(lambda vcpu, exit: started.set())\n"
                   "started = threading.Event()\n"
                   "threading.Thread(target=vcpu.run, daemon=True).start(); started.wait()\n")
        self.assertEqual(subprocess.run([sys.executable, "-c", program]).returncode, 0)

    def test_fork(self):
        vm, vcpu = world(HLT)
        child = os.fork()
        if child == 0:
            try:
                vcpu.run()
            except vmlib.ForkError:
                os._exit(42)
            os._exit(1)
        self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), 42)


class Mock(unittest.TestCase):
    def test_script(self):
        vm = VM(Backend.MOCK)
        vcpu = vm.vcpu()
        step = vmlib.MockStep()
        step.exit.reason = Reason.PIO
        step.exit.pio = vmlib.ExitPio(port=7, width=4, count=1)
        vcpu.mock_script([step, step])
        self.assertEqual(vcpu.run().port, 7)
        vcpu.complete(0xffffffff)
        vm.mock_fail(vmlib.MockCall.RUN, 0, ErrorCode.IO)
        with self.assertRaises(OSError):
            vcpu.run()
        self.assertEqual(vcpu.run().port, 7)
        with self.assertRaises(vmlib.InvalidError):
            VM(BACKEND).vcpu().mock_script([step])


class Capabilities(unittest.TestCase):
    def test_queries(self):
        self.assertIn("soft", [info.name for info in vmlib.backends()])
        self.assertIs(vmlib.backend_feature(Backend.SOFT, Feature.GUEST_CODE), Support.NATIVE)
        self.assertIs(vmlib.backend_by_name("mock"), Backend.MOCK)
        self.assertIs(VM(["mock", "soft"], required=[Feature.GUEST_CODE]).backend, Backend.SOFT)
        with self.assertRaises(vmlib.UnsupportedError):
            VM("mock", required=[Feature.GUEST_CODE])
        vm = VM("soft", time_mode=TimeMode.DETERMINISTIC, seed=1, tsc_khz=2000000)
        self.assertEqual((vm.clock, vm.tsc_khz), (0, 2000000))


class Machines(unittest.TestCase):
    # boot sector: mov al, 'A'; mov dx, 3f8; out dx, al; mov al, 5; out 0xf4, al; hlt
    SECTOR = (b"\xb0A\xba\xf8\x03\xee\xb0\x05\xe6\xf4\xf4").ljust(510, b"\0") + b"\x55\xaa"

    def machine(self, sector=SECTOR, **options):
        vm = VM(BACKEND)
        machine = Machine(vm, **options)
        machine.add_ram(1 << 20)
        machine.add_rng(1)
        vcpu = machine.add_vcpu()
        machine.boot(sector)
        return machine, vcpu

    def test_boot(self):
        said = []
        machine, vcpu = self.machine(serial=said.append)
        with machine:
            result = machine.run_vcpu(vcpu)
            self.assertEqual((result.end, result.value), (MachineEnd.DEBUG_EXIT, 5))
            self.assertEqual(b"".join(said), b"A")
            if vmlib.backend_feature(machine.vm.backend, Feature.INSN_COUNT) >= Support.EMULATED:
                self.assertGreater(machine.stats().instructions, 4)
            self.assertEqual(machine.serial_input(b"x"), 1)
            with self.assertRaises(vmlib.NotFoundError):
                machine.console_input(b"x")
        with self.assertRaises(vmlib.StateError):
            machine.run_vcpu(vcpu)

    def test_wrong(self):
        with self.assertRaises(vmlib.InvalidError) as caught:
            self.machine(b"not a kernel")
        self.assertTrue(caught.exception.detail)
        vm = VM(BACKEND)
        machine = Machine(vm)
        with self.assertRaises(vmlib.StateError):
            machine.boot(self.SECTOR)
        with self.assertRaises(OSError):
            machine.add_disk("/nonexistent")
        with self.assertRaises(TypeError):
            machine.boot(self.SECTOR, modules=[(b"x", "y")])
        with self.assertRaises(TypeError):
            machine.boot(self.SECTOR, modules=((b"x",),))

    def test_exception_in_output(self):
        machine, vcpu = self.machine(serial=lambda data: 1 // 0)
        with self.assertRaises(ZeroDivisionError):
            machine.run_vcpu(vcpu)

    def test_ctrl_c(self):
        machine, vcpu = self.machine((SPIN).ljust(510, b"\0") + b"\x55\xaa")
        threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT)).start()
        with self.assertRaises(KeyboardInterrupt):
            machine.run_vcpu(vcpu)

    def test_cycle(self):
        vm = VM(BACKEND)
        box = []
        machine = Machine(vm, serial=box.append)
        box.append(machine)
        box.append(vm)
        gone = weakref.ref(vm)
        del vm, machine, box
        gc.collect()
        self.assertIsNone(gone())

    def test_loader_alone(self):
        vm = VM(BACKEND)
        vm.memory(0, 1 << 20)
        vcpu = vm.vcpu()
        result = vmlib.boot_load(vcpu, self.SECTOR)
        self.assertIs(result.format, vmlib.BootFormat.SECTOR)
        self.assertIs(vmlib.boot_detect(self.SECTOR), vmlib.BootFormat.SECTOR)
        self.assertEqual(vcpu.rip, 0x7c00)
        ranges = [vmlib.BootMemory(gpa=0, bytes=1 << 20, type=vmlib.MemoryType.RAM)]
        vmlib.boot_load(vcpu, self.SECTOR, memory=ranges, rsdp=0xe0000)
        with self.assertRaises(vmlib.RangeError):
            vmlib.boot_load(vcpu, self.SECTOR, memory=[vmlib.BootMemory(gpa=0, bytes=0x1000, type=1)])
        for wrong in (3, [3], ranges * 65):
            with self.assertRaises((TypeError, ValueError)):
                vmlib.boot_load(vcpu, self.SECTOR, memory=wrong)


if __name__ == "__main__":
    main()
