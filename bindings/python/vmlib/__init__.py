"""Virtual machines from Python: the bindings of libvmlib.

    from vmlib import VM, Reason

    with VM() as vm:
        vm.memory(0, 0x10000)
        vm.write(0x1000, b"\\xb0\\x41\\xe6\\xe9\\xf4")  # mov al, 'A'; out 0xe9, al; hlt

        @vm.on_port(0xe9)
        def _(vcpu, exit):
            print(chr(exit.value))

        vcpu = vm.vcpu()
        vcpu.cs = Segment(limit=0xffff, attributes=0x9b)
        vcpu.rip = 0x1000
        assert vcpu.run().reason is Reason.HLT
"""
import struct
from typing import Any, Callable, Iterator, List, Optional, Tuple, Union, overload

from . import _core, enums
from ._core import *  # noqa: F401,F403
from ._core import BackendInfo, Console, Exit, Handler, Machine, Record, Region, VCPU
from .enums import *  # noqa: F401,F403
from .enums import Backend, DoorbellKind, HandlerKind
from .errors import (BusyError, Error, ExistsError, ForkError, GuestMemoryError, HostError, InvalidError,
                     LimitError, NoMemoryError, NotFoundError, RangeError, StateError, UnavailableError,
                     UnsupportedError)

HandlerFunction = Callable[[VCPU, Exit], Any]
"""Answers an event: None (done), a number (the value that is read), an Answer, an Event (raised in the
guest instead), for CPUID four registers. An exception ends the run and comes out of VCPU.run()."""
HandlerDecorator = Callable[[HandlerFunction], Handler]


class VM(_core.BaseVM):
    __doc__ = _core.BaseVM.__doc__

    @overload
    def handler(self, kind: int, first: int, last: Optional[int] = None, function: None = None, *,
                header: bool = False) -> HandlerDecorator: ...

    @overload
    def handler(self, kind: int, first: int, last: Optional[int], function: HandlerFunction, *,
                header: bool = False) -> Handler: ...

    def handler(self, kind: int, first: int, last: Optional[int] = None,
                function: Optional[HandlerFunction] = None, *,
                header: bool = False) -> Union[Handler, HandlerDecorator]:
        """Register a handler for a range; without function, returns a decorator.

        header: fill rip, insn, mode and cpl of the record before each call.
        """
        end = first if last is None else last
        if function is not None:
            return self._handler(kind, first, end, function, header)

        def decorate(decorated: HandlerFunction) -> Handler:
            return self._handler(kind, first, end, decorated, header)

        return decorate

    def on_port(self, first: int, last: Optional[int] = None, *, header: bool = False) -> HandlerDecorator:
        """Decorator: answer accesses to ports first to last."""
        return self.handler(HandlerKind.PIO, first, last, header=header)

    def on_mmio(self, first: int, last: Optional[int] = None, *, header: bool = False) -> HandlerDecorator:
        """Decorator: answer accesses to guest-physical addresses first to last."""
        return self.handler(HandlerKind.MMIO, first, last, header=header)

    def on_msr(self, first: int, last: Optional[int] = None, *, header: bool = False) -> HandlerDecorator:
        """Decorator: answer RDMSR and WRMSR."""
        return self.handler(HandlerKind.MSR, first, last, header=header)

    def on_cpuid(self, first: int, last: Optional[int] = None, *, header: bool = False) -> HandlerDecorator:
        """Decorator: answer CPUID leaves; the record holds the backend's own answer."""
        return self.handler(HandlerKind.CPUID, first, last, header=header)

    def on_hypercall(self, first: int, last: Optional[int] = None, *, header: bool = False) -> HandlerDecorator:
        """Decorator: answer VMCALL and VMMCALL with EAX from first to last; a number goes to RAX."""
        return self.handler(HandlerKind.HYPERCALL, first, last, header=header)

    def on_exception(self, first: int, last: Optional[int] = None, *, header: bool = False) -> HandlerDecorator:
        """Decorator: see exceptions before the guest does; needs VCPU.set_exception_exits()."""
        return self.handler(HandlerKind.EXCEPTION, first, last, header=header)

    def on_intack(self, first: int, last: Optional[int] = None, *, header: bool = False) -> HandlerDecorator:
        """Decorator: supply the vector when the INTR line of vCPUs first to last is served."""
        return self.handler(HandlerKind.INTACK, first, last, header=header)

    def doorbell(self, kind: int, address: int, function: Optional[Callable[[int], Any]] = None, *,
                 fd: int = -1, width: int = 0, value: Optional[int] = None) -> Handler:
        """Notify the host of writes to one address: through an eventfd, or a function of the value."""
        return self._doorbell(kind, address, function, fd, width, value)


class Ring(_core.BaseRing):
    __doc__ = _core.BaseRing.__doc__

    FORMAT = "<QQIBBBx"
    """struct format of one event: address, value, vcpu, kind, width, write"""

    def events(self) -> "Iterator[Tuple[int, ...]]":
        """Take all events: tuples of address, value, vcpu, kind, width, write."""
        return struct.iter_unpack(self.FORMAT, self.take())


def double(bits: int) -> float:
    """The number whose bits these are, such as CallResult.xmm0."""
    return float(struct.unpack("<d", struct.pack("<Q", bits))[0])


def signed(value: int, bits: int = 64) -> int:
    """The low bits of value as a number in two's complement."""
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> (bits - 1) else value


def backends() -> List[BackendInfo]:
    """What each backend of this build says about this machine."""
    found = []
    for backend in Backend:
        if backend is Backend.NONE:
            continue
        try:
            found.append(_core.backend_query(backend))
        except NotFoundError:
            continue
    return found


__version__ = f"{enums.VERSION_MAJOR}.{enums.VERSION_MINOR}.{enums.VERSION_PATCH}"
