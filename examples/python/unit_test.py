"""Unit tests of bare-metal code, from outside: loads an ELF program, calls its functions with arguments and a limit,
and gets results or faults. Usage: unit_test.py PROGRAM (examples/guest/units.c)"""
import pathlib
import sys
from typing import Any

from vmlib import VM, CallEnd, CallResult, boot_load, elf_symbol, signed

program = pathlib.Path(sys.argv[1]).read_bytes()
vm = VM()
vm.memory(0, 2 << 20)
vcpu = vm.vcpu()
boot_load(vcpu, program)


def call(name: str, *args: Any) -> CallResult:
    address, _ = elf_symbol(program, name)
    return vcpu.call(address, *args, stack=0x80000, budget=100000)


print(f'crc32("123456789") = {call("crc32", b"123456789", 9).value & 0xffffffff:08x}')

word = bytearray(b"drawer")
call("reverse", word, len(word))
print(f'reverse("drawer") = {word.decode()}')

print(f'divide(-100, 7) = {signed(call("divide", -100, 7).value, 32)}')

result = call("divide", -100, 0)
if result.end is CallEnd.FAULT:
    print(f"divide(-100, 0): exception {result.exit.exception.event.vector}")

result = call("forever")
if result.end is CallEnd.LIMIT:
    print(f"forever(): stopped after {result.instructions} instructions")
