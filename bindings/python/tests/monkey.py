"""Random calls with random arguments on every object of the module, in two threads, with garbage collection and handlers
that do the same: errors are fine, crashes and hangs are not. Usage: monkey.py [CALLS [SEED]]"""
import gc
import random
import sys
import threading

import vmlib

CALLS = int(sys.argv[1]) if len(sys.argv) > 1 else 20000
SEED = int(sys.argv[2]) if len(sys.argv) > 2 else 1
SECTOR = b"\xb0A\xba\xf8\x03\xee\xe6\x10\xe4\x11\xb0\x05\xe6\xf4\xf4".ljust(510, b"\0") + b"\x55\xaa"

# What would end the test itself, or wait for what nobody does
SKIP = {"mock_fail", "__class__", "__init_subclass__", "__subclasshook__", "__reduce__", "__reduce_ex__", "__sizeof__",
        "__dir__", "__format__", "__getstate__", "__setattr__", "__delattr__", "__new__", "__init__",
        "__getattribute__"}


def end(machine):
    try:
        machine.stop()
    except vmlib.StateError:  # closed meanwhile
        pass


class Monkey:
    def __init__(self, seed):
        self.dice = random.Random(seed)
        self.things = []
        self.depth = 0
        self.counts = {"done": 0, "refused": 0}

    def handler(self, *args):
        if self.depth < 3:
            self.depth += 1
            for _ in range(self.dice.randrange(3)):
                self.step(args)
            self.depth -= 1
        return self.dice.choice([None, None, 0, 1, 255, -1, "text", (1, 2, 3, 4), vmlib.Answer.PASS, vmlib.Answer.STOP,
                                 vmlib.Event(type=3, vector=6), 2**70])

    def value(self, extra=()):
        dice = self.dice
        return dice.choice([
            lambda: dice.randrange(8), lambda: dice.choice([-1, 2**31, 2**32, 2**63, 2**64 - 1, 2**64, 0x1000, 0x10000]),
            lambda: dice.randrange(2**16), lambda: b"", lambda: SECTOR, lambda: bytearray(dice.randrange(64)), lambda: "soft",
            lambda: None, lambda: 1.5, lambda: [], lambda: (1, 2), lambda: {}, lambda: self.handler,
            lambda: dice.choice(self.things) if self.things else None,
            lambda: dice.choice(extra) if extra else None,
            lambda: dice.choice(list(vmlib.Reg)), lambda: dice.choice(list(vmlib.HandlerKind)),
        ])()

    def fresh(self):
        """Something that works, so that not everything is refused."""
        dice = self.dice
        vm = vmlib.VM(dice.choice(["soft", "soft", "mock"]), log=self.handler)
        new = [vm]
        if dice.random() < 0.3:
            machine = vmlib.Machine(vm, serial=self.handler)
            machine.add_ram(1 << 20)
            vcpu = machine.add_vcpu()
            machine.boot(SECTOR)
            new += [machine, vcpu]
        else:
            new += [vm.memory(0, 0x10000, flags=dice.choice([0, 1, 2]))]
            vcpu = vm.vcpu()
            vmlib.boot_load(vcpu, SECTOR)
            new += [vcpu, vcpu.get_state(), vcpu.cs]
            others = [each for each in self.things if isinstance(each, vmlib.VCPU)]
            if others:
                new += [vmlib.Lockstep(vcpu, dice.choice(others), exit=self.handler, mask=self.handler,
                                       deadline_ns=1000000)]
        new += [vm.on_port(0x10, 0x11)(self.handler), vmlib.Ring(vm, 4), vmlib.Console()]
        self.things += new

    def step(self, extra=()):
        dice = self.dice
        if not self.things or dice.random() < 0.02:
            try:
                self.fresh()
            except vmlib.Error:  # a handler has closed it meanwhile
                pass
            if not self.things:
                return
        if len(self.things) > 40:
            for _ in range(20):
                self.things.pop(dice.randrange(len(self.things)))
        thing = dice.choice(self.things + list(extra))
        names = [n for n in dir(thing) if n not in SKIP]
        name = dice.choice(names)
        try:
            if dice.random() < 0.1:
                setattr(thing, name, self.value(extra))
                return
            member = getattr(thing, name)
            if not callable(member):
                result = member
            elif name == "run" and isinstance(thing, vmlib.Lockstep):
                threading.Timer(0.005, end, (thing,)).start()
                result = member(dice.randrange(5))
            elif name in ("run", "call"):
                result = member(*[self.value(extra) for _ in range(dice.randrange(3) if name == "call" else 0)],
                                budget=dice.randrange(1, 2000), deadline_ns=dice.choice([0, 1000, 1000000]))
            elif name in ("run_vcpu", "step"):
                threading.Timer(0.005, end, (thing,)).start()
                result = member(self.value(extra))
            elif name in ("expect", "wait", "send"):
                result = member(*[self.value(extra) for _ in range(dice.randrange(2))], timeout=0)
            else:
                result = member(*[self.value(extra) for _ in range(dice.randrange(5))])
            self.counts["done"] += 1
            if type(result).__module__.startswith("vmlib") and not isinstance(result, int):
                self.things.append(result)
            elif isinstance(result, memoryview) and len(result) and not result.readonly:
                result[dice.randrange(len(result))] = 0
        except Exception:  # refused, in one way or another
            self.counts["refused"] += 1

    def run(self):
        for i in range(CALLS):
            self.step()
            if i % 500 == 0:
                gc.collect()


sys.unraisablehook = lambda what: None  # exceptions in doorbells and output without a run
monkeys = [Monkey(SEED), Monkey(SEED + 1)]
# Both reach for the things of the other, too: the library refuses what belongs to another thread.
monkeys[1].things = monkeys[0].things
threads = [threading.Thread(target=monkey.run) for monkey in monkeys]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
for monkey in monkeys:
    print(monkey.counts)
    assert monkey.counts["done"] > CALLS // 20
