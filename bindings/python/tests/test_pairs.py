"""Tests of what takes two VMs: lockstep, hand-off, machines that move; and of messages and the choice of a backend.
One of the two is the backend under test, the other one soft."""
import gc
import os
import signal
import sys
import threading
import unittest
import weakref

import vmlib
from backend import BACKEND, main, needs
from vmlib import (VM, Answer, Feature, Lockstep, LockstepEnd, LockstepFlag, LockstepGrain,
                   LockstepKind, LogLevel, Machine, MachineEnd, MachineFlag, Reason, RegionFlag, Segment)

# mov cx, 3; next: in al, 0x60; add bx, ax; out 0x61, al; loop next; hlt
ADD = bytes.fromhex("b90300 e460 01c3 e661 e2f8 f4")
SPIN = b"\xeb\xfe"


def side(backend, code=None):
    vm = VM(backend)
    ram = vm.memory(0, 0x10000, flags=RegionFlag.DIRTY_LOG)
    vcpu = vm.vcpu()
    if code:
        vm.write(0x1000, code)
        vcpu.cs = Segment(limit=0xffff, attributes=0x9b)
        vcpu.set(rip=0x1000, rsp=0x8000)
    return vm, ram, vcpu


def pair(code, **options):
    a, b = side("soft", code), side(BACKEND)
    return a, b, Lockstep(a[2], b[2], regions=[(a[1], b[1])], flags=LockstepFlag.COPY, **options)


def answer(lockstep, exit):
    if exit.reason is Reason.PIO and not exit.write:
        return 7


class Locksteps(unittest.TestCase):
    def test_equal(self):
        seen = []

        def watch(lockstep, exit):
            seen.append((exit.reason, exit.copy()))
            return answer(lockstep, exit)

        a, b, lockstep = pair(ADD, exit=watch)
        with lockstep:
            result = lockstep.run()
            self.assertIs(result.end, LockstepEnd.HALTED)
            self.assertEqual((result.records, result.differences), (7, 0))
            self.assertEqual((a[2].rbx & 0xff, b[2].rbx & 0xff), (21, 21))
            self.assertEqual([exit.value for reason, exit in seen if reason is Reason.PIO and exit.write], [7, 7, 7])
            self.assertIn("no difference", lockstep.report())
            self.assertEqual(lockstep.differences(), [])
        for call in (lockstep.run, lockstep.report, lockstep.stop, lockstep.nmi, lambda: lockstep.intr(1)):
            with self.assertRaises(vmlib.StateError):
                call()
        lockstep.close()

    def test_limit_and_stop(self):
        def once(lockstep, exit):
            lockstep.stop()
            return answer(lockstep, exit)

        a, b, lockstep = pair(ADD, exit=answer)
        ends = [lockstep.run(3).end for _ in range(3)]
        self.assertEqual(ends, [LockstepEnd.LIMIT, LockstepEnd.LIMIT, LockstepEnd.HALTED])
        a, b, lockstep = pair(ADD, exit=once)
        self.assertIs(lockstep.run().end, LockstepEnd.STOPPED)
        a, b, lockstep = pair(ADD, exit=lambda lockstep, exit: Answer.STOP)
        self.assertIs(lockstep.run().end, LockstepEnd.STOPPED)

    def test_difference(self):
        a, b, lockstep = pair(ADD, exit=answer)
        lockstep.run(1)
        b[2].rbx = a[2].rbx ^ 0x10
        b[0].write(0x5000, b"wrong")
        result = lockstep.run()
        self.assertIs(result.end, LockstepEnd.DIFFERENCE)
        found = lockstep.differences()
        self.assertEqual(len(found), result.differences)
        self.assertIn("rbx", [d.name for d in found if d.kind is LockstepKind.REGISTER])
        self.assertEqual([d.gpa for d in found if d.kind is LockstepKind.MEMORY], [0x5000])
        self.assertIn("gpa 0x5000", lockstep.report())
        with self.assertRaises(vmlib.StateError):
            lockstep.run()

    @needs(Feature.SINGLE_STEP)
    def test_mask(self):
        instructions = []

        def mask(insn, mask, before):
            instructions.append(bytes(insn.bytes[:insn.length])[:2])
            if before is not None:
                self.assertEqual(before.gpr.rip, insn.rip)
            mask.gpr |= 1 << 3  # rbx
            mask.rflags |= 0x8d5

        a, b, lockstep = pair(ADD, exit=answer, mask=mask, grain=LockstepGrain.INSN)
        lockstep.run(2)
        b[2].rbx = 5
        self.assertIs(lockstep.run().end, LockstepEnd.HALTED)
        self.assertIn(b"\x01\xc3", instructions)
        self.assertEqual(a[2].rbx, b[2].rbx)

    def test_interrupts(self):
        code = b"\xfb" + SPIN  # sti; jmp $
        seen = []

        def serve(lockstep, exit):
            seen.append(exit.reason)
            if exit.reason is Reason.INTERRUPT_WINDOW:
                lockstep.intr(0)
                return 0x21

        a, b, lockstep = pair(code, exit=serve)
        lockstep.write(0x21 * 4, b"\x00\x20\x00\x00")
        lockstep.write(0x2000, b"\xe6\x10\xf4")  # out 0x10, al; hlt
        lockstep.intr(1)
        if BACKEND == "soft":
            self.assertIs(lockstep.run().end, LockstepEnd.HALTED)
            self.assertEqual(seen, [Reason.INTERRUPT_WINDOW, Reason.PIO, Reason.HLT])
        self.assertEqual(b[0].read(0x2000, 3), b"\xe6\x10\xf4")

    def test_exceptions(self):
        for option in ("exit", "mask"):
            a, b, lockstep = pair(ADD, **({"exit": answer} | {option: lambda *args: 1 // 0}))
            with self.assertRaises(ZeroDivisionError):
                lockstep.run()
        for wrong in ("text", 256, -1, 1.5):
            a, b, lockstep = pair(ADD, exit=lambda lockstep, exit: wrong)
            with self.assertRaises((TypeError, OverflowError)):
                lockstep.run()

    def test_worst_moments(self):
        def meddle(lockstep, exit):
            for call in (lockstep.run, lockstep.close, lockstep.report, lockstep.differences, a[0].close, b[0].close):
                with self.assertRaises(vmlib.BusyError):
                    call()
            thread = threading.Thread(target=elsewhere, args=(lockstep,))
            thread.start()
            thread.join()
            gc.collect()
            return answer(lockstep, exit)

        def elsewhere(lockstep):
            for call in (lockstep.run, lockstep.close, lockstep.nmi, lambda: lockstep.write(0, b"x")):
                try:
                    call()
                except vmlib.BusyError as error:
                    refused.append(error)

        refused = []
        a, b, lockstep = pair(ADD, exit=meddle)
        self.assertIs(lockstep.run().end, LockstepEnd.HALTED)
        self.assertEqual(len(refused), 4 * 7)
        a[0].close()
        with self.assertRaises(vmlib.StateError):
            lockstep.run()
        lockstep.close()

    def test_ctrl_c(self):
        a, b, lockstep = pair(SPIN)
        threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT)).start()
        with self.assertRaises(KeyboardInterrupt):
            lockstep.run()

    def test_stop_from_another_thread(self):
        a, b, lockstep = pair(SPIN)
        threading.Timer(0.05, lockstep.stop).start()
        self.assertIs(lockstep.run().end, LockstepEnd.STOPPED)

    def test_collected(self):
        a, b, lockstep = pair(ADD)
        box = [lockstep, a, b]
        again = Lockstep(*(side("soft")[2] for _ in range(2)), exit=box.append)
        box.append(again)
        gone = [weakref.ref(a[0]), weakref.ref(b[0])]
        del a, b, lockstep, box, again
        gc.collect()
        self.assertEqual([ref() for ref in gone], [None, None])

    def test_wrong(self):
        a, b = side("soft"), side("soft")
        for wrong in (lambda: Lockstep(), lambda: Lockstep(a[2], 3), lambda: Lockstep(a[2], b[2], regions=3),
                      lambda: Lockstep(a[2], b[2], regions=[3]), lambda: Lockstep(a[2], b[2], regions=[(a[1], 3)]),
                      lambda: Lockstep(a[2], b[2], exit=3), lambda: Lockstep(a[2], b[2], machines=3),
                      lambda: Lockstep(a[2], b[2], machines=(3, 4)), lambda: Lockstep(a[2], a[2]),
                      lambda: Lockstep(a[2], b[2], interval=0), lambda: Lockstep(a[2], b[2], regions=[(a[1], b[1])] * 17)):
            with self.assertRaises((TypeError, ValueError)):
                wrong()


class HandOff(unittest.TestCase):
    def test_memory_and_vcpu(self):
        a, b = side("soft", ADD), side(BACKEND)
        model = vmlib.handoff_cpuid(a[2], b[2])
        self.assertTrue(any(leaf.leaf == 1 for leaf in model))
        for vm, ram, vcpu in (a, b):
            vcpu.set_cpuid(model)
        self.assertEqual(len(a[2].cpuid()), len(model))
        at = a
        for place in (a, b) * 3 + (a,):
            other = b if place is a else a
            exit = place[2].run()
            if exit.reason is Reason.HLT:
                break
            self.assertIs(exit.reason, Reason.PIO)
            if not exit.write:
                place[2].complete(7)
            moved = vmlib.handoff_vcpu(place[2], other[2])
            if moved.reason is Reason.PIO:  # the OUT's record comes first
                moved = vmlib.handoff_vcpu(place[2], other[2])
            self.assertIs(moved.reason, Reason.NONE)
            vmlib.handoff_memory(place[1], other[1])
            at = other
        self.assertEqual(at[2].rbx & 0xff, 21)
        self.assertEqual(at[0].read(0x1000, len(ADD)), ADD)

    def test_repeat(self):
        a, b = side("soft", ADD), side("soft")
        self.assertIs(a[2].run().reason, Reason.PIO)
        with self.assertRaises(vmlib.StateError):
            vmlib.handoff_vcpu(a[2], b[2])
        self.assertIs(vmlib.handoff_vcpu(a[2], b[2], repeat=True).reason, Reason.NONE)
        vmlib.handoff_memory(a[1], b[1])
        self.assertEqual(b[2].run().port, 0x60)

    def test_shared(self):
        vm, ram, vcpu = side("soft")
        other = VM(BACKEND)
        view = ram.share(other).view
        vm.write(0x2000, b"both")
        self.assertEqual(bytes(view[0x2000:0x2004]), b"both")
        with self.assertRaises(vmlib.ExistsError):
            ram.share(other)
        gone = weakref.ref(vm)
        del vm, ram, vcpu, view
        gc.collect()
        self.assertEqual(other.read(0x2000, 4), b"both")  # the region's memory stays with the VM that has it
        del other
        gc.collect()
        self.assertIsNone(gone())
        vm, ram, vcpu = side("soft")  # in a circle
        other = VM("soft")
        shared = ram.share(other)
        third = other.memory(0x100000, 0x1000).share(vm)
        gone = weakref.ref(vm)
        del vm, ram, vcpu, other, shared, third
        gc.collect()
        self.assertIsNone(gone())

    def test_wrong(self):
        a, b = side("soft"), side("soft")
        for wrong in (lambda: vmlib.handoff_cpuid(a[2], 3), lambda: vmlib.handoff_vcpu(3, b[2]),
                      lambda: vmlib.handoff_memory(a[1], a[2]), lambda: a[1].share(3),
                      lambda: a[1].share(VM("soft"), flags=1 << 20),
                      lambda: vmlib.handoff_memory(a[1], b[0].memory(0x100000, 0x1000))):
            with self.assertRaises((TypeError, ValueError)):
                wrong()


class MovingMachines(unittest.TestCase):
    # mov cx, 3; next: in al, 0x60; mov dx, 3f8; out dx, al; loop next; mov al, 5; out 0xf4, al; hlt
    SECTOR = bytes.fromhex("b90300 e460 baf803 ee e2f8 b005 e6f4 f4").ljust(510, b"\0") + b"\x55\xaa"

    def machine(self, vm, **options):
        machine = Machine(vm, **options)
        machine.add_ram(1 << 20)
        vcpu = machine.add_vcpu()
        machine.boot(self.SECTOR)
        return machine, vcpu

    def test_move(self):
        home, other = VM("soft"), VM(BACKEND)
        said, asked = [], []
        home.set_cpuid(vmlib.handoff_cpuid(VM("soft").vcpu(), VM(BACKEND).vcpu()))
        machine, vcpu = self.machine(home, serial=said.append, flags=MachineFlag.DIRTY_LOG)
        with self.assertRaises(vmlib.NotFoundError):
            machine.move(other)
        machine.attach(other)

        def device(letter, vm):
            def port(vcpu, exit):
                asked.append(letter)
                self.assertIs(vcpu.vm, vm)
                return ord(letter)
            return port

        home.on_port(0x60)(device("a", home))
        other.on_port(0x60)(device("b", other))
        while not said:
            self.assertIsNot(machine.step(vcpu, 1).reason, Reason.NONE)
        machine.move(other)
        machine.move(other)
        self.assertEqual([len(region) for region in machine.ram()], [0xa0000, 0x60000 - 0x20000])
        self.assertIs(other.find_vcpu(0).vm, other)
        result = machine.run_vcpu(vcpu)
        self.assertIs(result.end, MachineEnd.DEBUG_EXIT)
        self.assertEqual(b"".join(said), b"abb")
        self.assertEqual(asked, ["a", "b", "b"])
        self.assertIs(machine.step(vcpu).reason, Reason.NONE)
        self.assertGreater(len(machine.memory_map()), 0)

    def test_exception_after_a_move(self):
        home, other = VM("soft"), VM("soft")
        machine, vcpu = self.machine(home)
        machine.attach(other)
        machine.move(other)
        other.on_port(0x60)(lambda vcpu, exit: 1 // 0)
        with self.assertRaises(ZeroDivisionError):
            machine.run_vcpu(vcpu)

    def test_two_machines_in_lockstep(self):
        vms = [VM("soft", time_mode=vmlib.TimeMode.DETERMINISTIC) for _ in range(2)]
        said = [[], []]
        machines, vcpus = zip(*(self.machine(vm, serial=said[i].append, rtc_seconds=0) for i, vm in enumerate(vms)))
        for vm in vms:
            vm.on_port(0x60)(lambda vcpu, exit: 0x41)
        regions = list(zip(machines[0].ram(), machines[1].ram()))
        lockstep = Lockstep(*vcpus, regions=regions, machines=machines, slice=1)
        with self.assertRaises(vmlib.BusyError):
            machines[0].close()
        result = lockstep.run()
        self.assertIs(result.end, LockstepEnd.STOPPED, lockstep.report())
        self.assertEqual([b"".join(each) for each in said], [b"AAA", b"AAA"])
        lockstep.close()
        machines[0].close()
        machines, vcpus = zip(*(self.machine(VM("soft", time_mode=vmlib.TimeMode.DETERMINISTIC)) for _ in range(2)))
        vcpus[1].vm.on_port(0x60)(lambda vcpu, exit: 1 // 0)
        lockstep = Lockstep(*vcpus, machines=machines)
        with self.assertRaises(ZeroDivisionError):
            lockstep.run()


class Choice(unittest.TestCase):
    def test_pick(self):
        backend, why = vmlib.backend_pick()
        self.assertTrue(why.startswith(backend.name.lower()))
        self.assertIs(vmlib.backend_pick([Feature.DETERMINISTIC])[0], vmlib.Backend.SOFT)
        with self.assertRaises(vmlib.UnavailableError) as caught:
            vmlib.backend_pick([Feature.SMM])
        self.assertIn("soft has no smm", caught.exception.detail)
        for wrong in (3, ["x"], [64]):
            with self.assertRaises((TypeError, OverflowError)):
                vmlib.backend_pick(wrong)

    def test_names(self):
        self.assertEqual((vmlib.exit_name(Reason.HLT), vmlib.feature_name(Feature.SMM),
                          vmlib.boot_format_name(vmlib.BootFormat.LINUX), vmlib.machine_end_name(MachineEnd.POWER_OFF)),
                         ("hlt", "smm", "linux", "power-off"))
        self.assertIsNone(vmlib.exit_name(99))

    def test_log(self):
        messages = []
        vm = VM(["mock", "soft"], required=[Feature.GUEST_CODE], log=lambda *args: messages.append(args))
        self.assertEqual(len(messages), 1)
        level, text = messages[0]
        self.assertIs(level, LogLevel.INFO)
        self.assertIn("soft", text)
        self.assertIn("lacks guest-code", text)
        hook, sys.unraisablehook = sys.unraisablehook, messages.append
        try:
            VM("soft", log=lambda level, text: 1 // 0)
        finally:
            sys.unraisablehook = hook
        self.assertIs(messages[1].exc_type, ZeroDivisionError)
        box = []
        vm = VM("soft", log=lambda level, text: box)
        box.append(vm)
        gone = weakref.ref(vm)
        del vm, box
        gc.collect()
        self.assertIsNone(gone())

    def test_vcpus_and_mock(self):
        vm = VM("mock")
        vcpu = vm.vcpu(3)
        self.assertIs(vm.find_vcpu(3), vcpu)
        with self.assertRaises(vmlib.NotFoundError):
            vm.find_vcpu(0)
        step = vmlib.MockStep()
        step.exit.reason = Reason.PIO
        step.exit.pio = vmlib.ExitPio(port=7, width=1, count=1)
        vcpu.mock_script([step])
        vcpu.run()
        vcpu.complete(0x55)
        result = vcpu.mock_result()
        self.assertEqual((result.outcome, result.exit.pio.value), (vmlib.MockOutcome.COMPLETED, 0x55))


if __name__ == "__main__":
    main()
