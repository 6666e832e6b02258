"""A coverage-guided fuzzer of a guest's parser. The program tells its basic blocks to a port; an event ring collects
them, so that a call costs no exits; inputs that reach new blocks are kept and changed further. Stops at the first fault.
Usage: fuzzer.py PROGRAM (examples/guest/parser.c)"""
import pathlib
import random
import sys
from typing import List, Set

from vmlib import VM, CallEnd, CallResult, HandlerKind, Ring, boot_load, elf_symbol

program = pathlib.Path(sys.argv[1]).read_bytes()
vm = VM()
vm.memory(0, 2 << 20)
vcpu = vm.vcpu()
boot_load(vcpu, program)
parse, _ = elf_symbol(program, "parse")
ring = Ring(vm)
ring.watch(HandlerKind.PIO, 0x100)

INTERESTING = bytes([0, 1, 2, 7, 0x7f, 0x80, 0xff])
dice = random.Random(1)  # the same numbers every time: a found fault can be found again
seen: Set[int] = set()
kept: List[bytes] = [b"VM"]


def mutate(data: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(dice.randint(1, 3)):
        byte = dice.choice(INTERESTING) if dice.random() < 0.5 else dice.randrange(256)
        at = dice.randrange(32)
        if at < len(changed):
            changed[at] = byte
        elif len(changed) < 32:
            changed.append(byte)
    return bytes(changed)


def run(data: bytes) -> CallResult:
    return vcpu.call(parse, data, len(data), stack=0x80000)


for runs in range(1, 1000001):
    packet = mutate(dice.choice(kept))
    result = run(packet)
    if result.end is CallEnd.FAULT:
        break
    blocks = {event[1] for event in ring.events()}
    if not blocks <= seen:
        seen |= blocks
        kept.append(packet)
else:
    sys.exit("nothing found")
print(f"fault: exception {result.exit.exception.event.vector} in parse()")
print("the packet is of version 2 and has records:", "yes" if packet[2] == 2 and len(packet) > 4 else "no")
print(f"{runs} runs, {len(kept)} inputs kept", file=sys.stderr)
