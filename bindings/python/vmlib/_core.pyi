"""The compiled part of vmlib."""
from types import TracebackType
from typing import Any, Callable, Dict, Iterable, List, Optional, Sequence, Tuple, Type, TypeVar, Union, final

from . import enums as _enums

_Buffer = Union[bytes, bytearray, memoryview, Any]
_Backends = Union[None, str, int, Sequence[Union[str, int]]]
_bytes = bytes
_Self = TypeVar("_Self")

_constants: Dict[str, Tuple[int, Optional[str]]]

def backend_query(backend: int, /) -> BackendInfo: ...
def backend_feature(backend: int, feature: int, /) -> _enums.Support: ...
def backend_by_name(name: str, /) -> _enums.Backend: ...
def boot_load(vcpu: VCPU, kernel: _Buffer, *, format: int = 0, initrd: Optional[_Buffer] = None,
              cmdline: Optional[str] = None, modules: Tuple[Tuple[_Buffer, str], ...] = (),
              load_address: int = 0, entry_offset: int = 0, entry_bits: int = 0,
              memory: Optional[Iterable[BootMemory]] = None, rsdp: int = 0) -> BootResult: ...
def boot_detect(kernel: _Buffer, /) -> _enums.BootFormat: ...
def elf_symbol(elf: _Buffer, name: str, /) -> Tuple[int, int]: ...
def exit_name(reason: int, /) -> Optional[str]: ...
def feature_name(feature: int, /) -> Optional[str]: ...
def boot_format_name(format: int, /) -> Optional[str]: ...
def machine_end_name(end: int, /) -> Optional[str]: ...
def backend_pick(required: Iterable[int] = ()) -> Tuple[_enums.Backend, str]: ...
def handoff_cpuid(a: VCPU, b: VCPU, /) -> List[CpuidLeaf]: ...
def handoff_memory(source: Region, target: Region, /) -> None: ...
def handoff_vcpu(source: VCPU, target: VCPU, repeat: bool = False) -> Exit: ...
def version() -> Tuple[int, int, int]: ...

class BaseVM:
    def __init__(self, backends: _Backends = None, *, time_mode: int = 0, required: Iterable[int] = (),
                 seed: int = 0, tsc_khz: int = 0, phys_bits: int = 0, msr_policy: int = 0,
                 log: Optional[Callable[[_enums.LogLevel, str], object]] = None) -> None: ...
    def memory(self, gpa: int, size: int, *, prot: int = 7, flags: int = 0, host: Optional[_Buffer] = None,
               fd: int = -1, offset: int = 0, alias: Optional[Region] = None) -> Region: ...
    def vcpu(self, index: int = 0, apic_id: int = 0xffffffff, initial: int = 0) -> VCPU: ...
    def find_vcpu(self, index: int, /) -> VCPU: ...
    def _handler(self, kind: int, first: int, last: int, function: Optional[Callable[..., Any]],
                 header: bool = False) -> Handler: ...
    def _doorbell(self, kind: int, address: int, function: Optional[Callable[[int], Any]] = None,
                  fd: int = -1, width: int = 0, value: Optional[int] = None) -> Handler: ...
    def read(self, gpa: int, size: int, /) -> bytes: ...
    def write(self, gpa: int, data: _Buffer, /) -> None: ...
    def set_cpuid(self, leaves: Iterable[CpuidLeaf], /) -> None: ...
    def mock_fail(self, call: int, after: int, code: int, /) -> None: ...
    def close(self) -> None: ...
    def __enter__(self: _Self) -> _Self: ...
    def __exit__(self, kind: Optional[Type[BaseException]], value: Optional[BaseException],
                 traceback: Optional[TracebackType], /) -> None: ...
    @property
    def backend(self) -> _enums.Backend: ...
    @property
    def clock(self) -> int: ...
    @property
    def tsc_khz(self) -> int: ...
    @property
    def closed(self) -> bool: ...

@final
class Region:
    """Guest memory; memoryview(region) is the memory itself."""
    def __len__(self) -> int: ...
    def protect(self, prot: int, /) -> None: ...
    def remove(self) -> None: ...
    def written(self, offset: int, size: int, /) -> None: ...
    def write(self, offset: int, data: _Buffer, /) -> None: ...
    def share(self, vm: BaseVM, prot: int = 7, flags: int = 0) -> Region: ...
    def dirty(self, clear: bool = False, offset: int = 0, size: int = 0) -> List[int]: ...
    @property
    def gpa(self) -> int: ...
    @property
    def view(self) -> memoryview: ...

class BaseRing:
    def __init__(self, vm: BaseVM, capacity: int = 65536, drop: bool = False) -> None: ...
    def watch(self, kind: int, first: int, last: Optional[int] = None, answer: int = 0,
              pass_on: bool = False) -> None: ...
    def take(self) -> bytes: ...
    def consume(self, count: int, /) -> None: ...
    def close(self) -> None: ...
    def __enter__(self: _Self) -> _Self: ...
    def __exit__(self, kind: Optional[Type[BaseException]], value: Optional[BaseException],
                 traceback: Optional[TracebackType], /) -> None: ...
    @property
    def lost(self) -> int: ...

@final
class Console:
    def __init__(self, *, limit: int = 1048576, virtio: bool = False) -> None: ...
    def start(self, machine: Machine, vcpus: Iterable[VCPU], /) -> None: ...
    def expect(self, *texts: Union[str, bytes], timeout: float = 10) -> int: ...
    def send(self, data: Union[str, bytes], *, timeout: float = 10) -> None: ...
    def wait(self, *, timeout: float = 10) -> MachineResult: ...
    def close(self) -> None: ...
    def __enter__(self: _Self) -> _Self: ...
    def __exit__(self, kind: Optional[Type[BaseException]], value: Optional[BaseException],
                 traceback: Optional[TracebackType], /) -> None: ...
    @property
    def before(self) -> bytes: ...

_Sink = Union[None, Console, Callable[[bytes], object]]

@final
class Handler:
    def __call__(self, *args: Any, **kwargs: Any) -> Any: ...
    def remove(self) -> None: ...
    @property
    def function(self) -> Optional[Callable[..., Any]]: ...

class Machine:
    def __init__(self, vm: BaseVM, *, serial: _Sink = None, debug: _Sink = None, flags: int = 0,
                 rtc_seconds: int = 0xffffffffffffffff, timeout_ns: int = 0) -> None: ...
    def add_ram(self, size: int, /) -> None: ...
    def add_vcpu(self) -> VCPU: ...
    def add_disk(self, path: Any = None, *, flags: int = 0, serial: Optional[str] = None, fd: int = -1) -> None: ...
    def add_console(self, function: _Sink, /) -> None: ...
    def add_rng(self, seed: int = 0, /) -> None: ...
    def boot(self, kernel: _Buffer, *, format: int = 0, initrd: Optional[_Buffer] = None,
             cmdline: Optional[str] = None, modules: Tuple[Tuple[_Buffer, str], ...] = (),
             load_address: int = 0, entry_offset: int = 0, entry_bits: int = 0,
              memory: Optional[Iterable[BootMemory]] = None, rsdp: int = 0) -> BootResult: ...
    def run_vcpu(self, vcpu: VCPU, /) -> MachineResult: ...
    def step(self, vcpu: VCPU, budget: int = 0, /) -> Exit: ...
    def attach(self, vm: BaseVM, /) -> None: ...
    def move(self, vm: BaseVM, /) -> None: ...
    def ram(self) -> List[Region]: ...
    def memory_map(self) -> List[BootMemory]: ...
    def stop(self) -> None: ...
    def serial_input(self, data: _Buffer, /) -> int: ...
    def console_input(self, data: _Buffer, /) -> int: ...
    def stats(self) -> MachineStats: ...
    def close(self) -> None: ...
    def __enter__(self: _Self) -> _Self: ...
    def __exit__(self, kind: Optional[Type[BaseException]], value: Optional[BaseException],
                 traceback: Optional[TracebackType], /) -> None: ...
    @property
    def vm(self) -> BaseVM: ...

@final
class Lockstep:
    def __init__(self, a: VCPU, b: VCPU, *, regions: Iterable[Tuple[Region, Region]] = (), grain: int = 0,
                 flags: int = 0, interval: int = 16, history: int = 16, slice: int = 100000,
                 deadline_ns: int = 10000000000, exit: Optional[Callable[[Lockstep, Exit], object]] = None,
                 mask: Optional[Callable[[LockstepInsn, LockstepMask, Optional[State]], object]] = None,
                 machines: Optional[Tuple[Machine, Machine]] = None) -> None: ...
    def run(self, limit: int = 0, /) -> LockstepResult: ...
    def stop(self) -> None: ...
    def differences(self) -> List[LockstepDifference]: ...
    def report(self) -> str: ...
    def intr(self, level: int, /) -> None: ...
    def nmi(self) -> None: ...
    def write(self, gpa: int, data: _Buffer, /) -> None: ...
    def close(self) -> None: ...
    def __enter__(self: _Self) -> _Self: ...
    def __exit__(self, kind: Optional[Type[BaseException]], value: Optional[BaseException],
                 traceback: Optional[TracebackType], /) -> None: ...

class Record:
    """A struct of the library with its members as attributes."""
    def __init__(self, **members: Any) -> None: ...
    def asdict(self) -> Dict[str, Any]: ...
    def copy(self: _Self) -> _Self: ...
    def raw(self) -> bytes: ...
    @classmethod
    def from_raw(cls: Type[_Self], data: _Buffer, /) -> _Self: ...
    def __copy__(self: _Self) -> _Self: ...

@final
class VCPU:
    @property
    def index(self) -> int: ...
    @property
    def vm(self) -> BaseVM: ...
    @property
    def generation(self) -> int: ...
    def run(self, *, budget: int = 0, deadline_ns: int = 0, wait: bool = False, step: bool = False,
            generation: int = 0) -> Exit: ...
    def call(self, function: int, /, *args: Union[int, float, _Buffer], stack: int = 0, budget: int = 1000000,
             deadline_ns: int = 0, exceptions: int = 0xffffffff) -> CallResult: ...
    def complete(self, value: Union[None, int, Tuple[int, int, int, int]] = None, /) -> None: ...
    def fault(self, vector: int, error_code: int = 0, /) -> None: ...
    def cancel(self, generation: int = 0, /) -> None: ...
    def set_intr(self, level: int, /) -> None: ...
    def nmi(self) -> None: ...
    def init(self) -> None: ...
    def sipi(self, vector: int, /) -> None: ...
    def request_interrupt_window(self, on: int, /) -> None: ...
    def set_exception_exits(self, mask: int, /) -> None: ...
    def inject(self, event: Event, /) -> None: ...
    def set_breakpoint(self, slot: int, address: Optional[int], kind: int = 1, width: int = 1) -> None: ...
    def translate(self, gva: int, access: int = 0, /) -> Translation: ...
    def read(self, gva: int, size: int, /) -> bytes: ...
    def write(self, gva: int, data: _Buffer, /) -> None: ...
    def get_state(self, groups: int = 0xff, /) -> State: ...
    def set_state(self, state: State, groups: int = 0xff, /) -> None: ...
    def registers(self) -> Dict[str, int]: ...
    def set(self, **registers: Any) -> None: ...
    def cpuid(self) -> List[CpuidLeaf]: ...
    def set_cpuid(self, leaves: Iterable[CpuidLeaf], /) -> None: ...
    def mock_script(self, steps: Iterable[MockStep], /) -> None: ...
    def mock_result(self) -> MockResult: ...
# --- below this line: written by bindings/gen/generate ---
    rax: int
    rcx: int
    rdx: int
    rbx: int
    rsp: int
    rbp: int
    rsi: int
    rdi: int
    r8: int
    r9: int
    r10: int
    r11: int
    r12: int
    r13: int
    r14: int
    r15: int
    rip: int
    rflags: int
    cr0: int
    cr2: int
    cr3: int
    cr4: int
    cr8: int
    xcr0: int
    efer: int
    apic_base: int
    dr0: int
    dr1: int
    dr2: int
    dr3: int
    dr6: int
    dr7: int
    fs_base: int
    gs_base: int
    kernel_gs_base: int
    tsc: int
    es: Segment
    cs: Segment
    ss: Segment
    ds: Segment
    fs: Segment
    gs: Segment
    ldtr: Segment
    tr: Segment
    gdtr: Table
    idtr: Table
    xmm0: _bytes
    xmm1: _bytes
    xmm2: _bytes
    xmm3: _bytes
    xmm4: _bytes
    xmm5: _bytes
    xmm6: _bytes
    xmm7: _bytes
    xmm8: _bytes
    xmm9: _bytes
    xmm10: _bytes
    xmm11: _bytes
    xmm12: _bytes
    xmm13: _bytes
    xmm14: _bytes
    xmm15: _bytes
    ymm0: _bytes
    ymm1: _bytes
    ymm2: _bytes
    ymm3: _bytes
    ymm4: _bytes
    ymm5: _bytes
    ymm6: _bytes
    ymm7: _bytes
    ymm8: _bytes
    ymm9: _bytes
    ymm10: _bytes
    ymm11: _bytes
    ymm12: _bytes
    ymm13: _bytes
    ymm14: _bytes
    ymm15: _bytes
    st0: _bytes
    st1: _bytes
    st2: _bytes
    st3: _bytes
    st4: _bytes
    st5: _bytes
    st6: _bytes
    st7: _bytes

@final
class BackendInfo(Record):
    @property
    def backend(self) -> _enums.Backend: ...
    @backend.setter
    def backend(self, value: int) -> None: ...
    available: int
    phys_bits: int
    max_vcpus: int
    @property
    def name(self) -> str: ...
    @property
    def reason(self) -> str: ...

@final
class CpuidLeaf(Record):
    leaf: int
    subleaf: int
    flags: int
    eax: int
    ebx: int
    ecx: int
    edx: int

@final
class Translation(Record):
    @property
    def fault(self) -> _enums.Translate: ...
    @fault.setter
    def fault(self, value: int) -> None: ...
    gpa: int
    error_code: int
    page_bits: int
    flags: int
    prot: int

@final
class Event(Record):
    @property
    def type(self) -> _enums.EventType: ...
    @type.setter
    def type(self, value: int) -> None: ...
    vector: int
    flags: int
    error_code: int
    insn_len: int
    address: int

@final
class ExitPio(Record):
    port: int
    width: int
    write: int
    string: int
    rep: int
    value: int
    count: int

@final
class ExitMmio(Record):
    gpa: int
    gva: int
    value: int
    width: int
    write: int

@final
class ExitMsr(Record):
    index: int
    write: int
    known: int
    value: int

@final
class ExitCpuid(Record):
    leaf: int
    subleaf: int
    eax: int
    ebx: int
    ecx: int
    edx: int

@final
class ExitHypercall(Record):
    rax: int
    rbx: int
    rcx: int
    rdx: int
    rsi: int
    rdi: int
    result: int

@final
class ExitException(Record):
    event: Event

@final
class ExitMemoryFault(Record):
    gpa: int
    gva: int
    @property
    def access(self) -> _enums.Access: ...
    @access.setter
    def access(self, value: int) -> None: ...
    width: int
    mapped: int
    prot: int

@final
class ExitDebug(Record):
    @property
    def cause(self) -> _enums.DebugCause: ...
    @cause.setter
    def cause(self, value: int) -> None: ...
    slots: int
    address: int

@final
class ExitInterrupt(Record):
    requested: int
    vector: int

@final
class ExitInternal(Record):
    code: int
    @property
    def data(self) -> tuple[int, ...]: ...
    @data.setter
    def data(self, value: Iterable[int]) -> None: ...
    @property
    def text(self) -> str: ...

@final
class Exit(Record):
    @property
    def reason(self) -> _enums.Reason: ...
    @reason.setter
    def reason(self, value: int) -> None: ...
    @property
    def flags(self) -> _enums.ExitFlag: ...
    @flags.setter
    def flags(self, value: int) -> None: ...
    @property
    def mode(self) -> _enums.Mode: ...
    @mode.setter
    def mode(self, value: int) -> None: ...
    cpl: int
    insn_len: int
    insn: _bytes
    rip: int
    instructions: int
    generation: int
    inject: Event
    pio: ExitPio
    mmio: ExitMmio
    msr: ExitMsr
    cpuid: ExitCpuid
    hypercall: ExitHypercall
    exception: ExitException
    memory_fault: ExitMemoryFault
    debug: ExitDebug
    interrupt: ExitInterrupt
    internal: ExitInternal
    @property
    def port(self) -> int: ...
    @property
    def address(self) -> int: ...
    @property
    def width(self) -> int: ...
    @property
    def write(self) -> bool: ...
    value: int
    @property
    def data(self) -> Optional[Record]: ...

@final
class Gpr(Record):
    rax: int
    rcx: int
    rdx: int
    rbx: int
    rsp: int
    rbp: int
    rsi: int
    rdi: int
    r8: int
    r9: int
    r10: int
    r11: int
    r12: int
    r13: int
    r14: int
    r15: int
    rip: int
    rflags: int

@final
class Segment(Record):
    base: int
    limit: int
    attributes: int
    selector: int

@final
class Table(Record):
    base: int
    limit: int

@final
class Segments(Record):
    es: Segment
    cs: Segment
    ss: Segment
    ds: Segment
    fs: Segment
    gs: Segment
    ldtr: Segment
    tr: Segment
    gdtr: Table
    idtr: Table

@final
class Control(Record):
    cr0: int
    cr2: int
    cr3: int
    cr4: int
    cr8: int
    xcr0: int
    efer: int
    apic_base: int
    @property
    def pdpte(self) -> tuple[int, ...]: ...
    @pdpte.setter
    def pdpte(self, value: Iterable[int]) -> None: ...

@final
class Debug(Record):
    @property
    def dr(self) -> tuple[int, ...]: ...
    @dr.setter
    def dr(self, value: Iterable[int]) -> None: ...
    dr6: int
    dr7: int

@final
class Msrs(Record):
    star: int
    lstar: int
    cstar: int
    fmask: int
    kernel_gs_base: int
    tsc_aux: int
    sysenter_cs: int
    sysenter_esp: int
    sysenter_eip: int
    tsc: int
    tsc_adjust: int
    feature_control: int
    spec_ctrl: int
    misc_enable: int
    debugctl: int
    pat: int
    xss: int
    mcg_status: int
    mcg_ctl: int
    mtrr_def_type: int
    @property
    def mtrr_fixed(self) -> tuple[int, ...]: ...
    @mtrr_fixed.setter
    def mtrr_fixed(self, value: Iterable[int]) -> None: ...
    @property
    def mtrr_base(self) -> tuple[int, ...]: ...
    @mtrr_base.setter
    def mtrr_base(self, value: Iterable[int]) -> None: ...
    @property
    def mtrr_mask(self) -> tuple[int, ...]: ...
    @mtrr_mask.setter
    def mtrr_mask(self, value: Iterable[int]) -> None: ...

@final
class Fpu(Record):
    image: _bytes

@final
class Xsave(Record):
    bytes: int
    features: int
    image: _bytes

@final
class Events(Record):
    flags: int
    sipi_vector: int
    injected: Event
    pending_debug: int

@final
class State(Record):
    gpr: Gpr
    segments: Segments
    control: Control
    debug: Debug
    msrs: Msrs
    events: Events
    fpu: Fpu
    xsave: Xsave

@final
class VcpuConfig(Record):
    index: int
    apic_id: int
    initial: int

@final
class RunArgs(Record):
    flags: int
    deadline_ns: int
    budget: int
    generation: int

@final
class Breakpoint(Record):
    kind: int
    address: int
    width: int

@final
class BootMemory(Record):
    gpa: int
    bytes: int
    @property
    def type(self) -> _enums.MemoryType: ...
    @type.setter
    def type(self, value: int) -> None: ...

@final
class BootResult(Record):
    @property
    def format(self) -> _enums.BootFormat: ...
    @format.setter
    def format(self, value: int) -> None: ...
    bits: int
    entry: int
    kernel_gpa: int
    kernel_bytes: int
    initrd_gpa: int
    info_gpa: int

@final
class CallResult(Record):
    @property
    def end(self) -> _enums.CallEnd: ...
    @end.setter
    def end(self, value: int) -> None: ...
    value: int
    xmm0: int
    instructions: int
    exit: Exit

@final
class MachineResult(Record):
    @property
    def end(self) -> _enums.MachineEnd: ...
    @end.setter
    def end(self, value: int) -> None: ...
    value: int
    vcpu: int
    error: int
    @property
    def exit_reason(self) -> _enums.Reason: ...
    @exit_reason.setter
    def exit_reason(self, value: int) -> None: ...
    rip: int
    @property
    def text(self) -> str: ...

@final
class MachineStats(Record):
    vcpus: int
    instructions: int
    @property
    def exits(self) -> tuple[int, ...]: ...
    @exits.setter
    def exits(self, value: Iterable[int]) -> None: ...
    pio: int
    mmio: int
    msr: int
    interrupts: int
    unclaimed: int

@final
class LockstepInsn(Record):
    rip: int
    bytes: _bytes
    length: int
    @property
    def mode(self) -> _enums.Mode: ...
    @mode.setter
    def mode(self, value: int) -> None: ...

@final
class LockstepMask(Record):
    rflags: int
    gpr: int
    fpu_word: int

@final
class LockstepResult(Record):
    @property
    def end(self) -> _enums.LockstepEnd: ...
    @end.setter
    def end(self, value: int) -> None: ...
    located: int
    differences: int
    records: int
    comparisons: int
    excused: int
    @property
    def instructions(self) -> tuple[int, ...]: ...
    @instructions.setter
    def instructions(self, value: Iterable[int]) -> None: ...
    equal_at: int
    insn: LockstepInsn

@final
class LockstepDifference(Record):
    @property
    def kind(self) -> _enums.LockstepKind: ...
    @kind.setter
    def kind(self, value: int) -> None: ...
    group: int
    bytes: int
    gpa: int
    @property
    def value(self) -> tuple[int, ...]: ...
    @value.setter
    def value(self, value: Iterable[int]) -> None: ...
    @property
    def name(self) -> str: ...

@final
class MockStep(Record):
    action: int
    count: int
    code: int
    exit: Exit

@final
class MockResult(Record):
    @property
    def outcome(self) -> _enums.MockOutcome: ...
    @outcome.setter
    def outcome(self, value: int) -> None: ...
    steps: int
    delivered: int
    event: Event
    exit: Exit

@final
class RingEvent(Record):
    address: int
    value: int
    vcpu: int
    kind: int
    width: int
    write: int

@final
class RingConfig(Record):
    capacity: int
    flags: int

@final
class RingWatch(Record):
    kind: int
    first: int
    last: int
    answer: int
    flags: int
