"""Enumerations and constants. Written by bindings/gen/generate from the public headers: do not edit."""
from enum import IntEnum, IntFlag
from typing import Final


class ErrorCode(IntEnum):
    INVAL = -1  # an argument is wrong; vmlib_last_error() names it
    NOMEM = -2  # the host has no memory left
    STATE = -3  # not in this state: an exit waits for completion, the vCPU has run, ...
    BUSY = -4  # the object is in use: the vCPU runs on another thread
    EXISTS = -5  # overlaps or duplicates something that is already there
    RANGE = -6  # address and size leave the allowed range
    NOTFOUND = -7  # no such object
    UNSUPPORTED = -8  # the backend refuses this feature
    UNAVAILABLE = -9  # no backend of the list can be used on this machine
    FORK = -10  # the VM was created by the parent of this process
    FAULT = -11  # guest memory is not mapped or does not allow the access
    IO = -12  # a host system call failed
    LIMIT = -13  # a fixed limit of the library or the backend is reached
    INTERNAL = -14  # a bug in the library


class LogLevel(IntEnum):
    ERROR = 1
    WARNING = 2
    INFO = 3
    DEBUG = 4


class Backend(IntEnum):
    NONE = 0  # ends a backend list
    SOFT = 1  # software: needs nothing from the host
    MOCK = 2  # scripted exits, for tests of host programs (mock.h); executes nothing
    KVM = 3  # the kernel's /dev/kvm (Linux on x86-64 processors)
    VTX = 4  # Intel VT-x through the driver that comes with the library


class Feature(IntEnum):
    GUEST_CODE = 0  # executes guest instructions
    REAL_MODE = 1  # real and virtual-8086 mode
    LONG_MODE = 2  # 64-bit mode
    AVX2 = 3  # AVX2, FMA, F16C and BMI in the guest
    SMP = 4  # several vCPUs, each on its own thread
    DETERMINISTIC = 5  # TIME_DETERMINISTIC
    BUDGET = 6  # instruction budget; native means exact
    INSN_COUNT = 7  # exits report the number of retired instructions
    SINGLE_STEP = 8  # RUN_SINGLE_STEP
    BREAKPOINTS = 9  # vmlib_vcpu_set_breakpoint()
    EXCEPTION_EXITS = 10  # vmlib_vcpu_set_exception_exits()
    MSR_HANDLERS = 11  # handlers for any MSR, also those the backend keeps
    CPUID_HANDLERS = 12  # handlers for CPUID leaves
    DIRTY_LOG = 13  # REGION_DIRTY_LOG
    PROT_READ = 14  # regions without PROT_R
    PROT_WRITE = 15  # regions without PROT_W
    PROT_EXEC = 16  # regions without PROT_X
    NMI = 17  # vmlib_vcpu_nmi()
    SMM = 18  # system management mode
    HYPERCALL_HANDLERS = 19  # VMCALL and VMMCALL are returned from run, or go to handlers
    DEVICE_TABLES = 20


class Support(IntEnum):
    REFUSED = 0  # not at all: using it is an error
    APPROXIMATE = 1  # works, with differences doc/exit-contract.md lists
    EMULATED = 2  # exact, but slower than the backend's own speed
    NATIVE = 3  # exact and at full speed


class TimeMode(IntEnum):
    REAL = 0  # guest time follows the host's monotonic clock
    DETERMINISTIC = 1


class MsrPolicy(IntEnum):
    FAULT = 0  # MSRs that nobody knows raise general protection
    EXIT = 1  # ... are returned from run as EXIT_MSR


class Prot(IntFlag):
    R = 0x1
    W = 0x2
    X = 0x4
    RWX = 0x7


class Backing(IntEnum):
    ANON = 0  # zeroed memory that the library owns
    HOST = 1  # memory of the caller at `host`, page aligned; must outlive the region
    FD = 2  # file or memfd at `fd_offset`; the descriptor may be closed after the call
    ALIAS = 3  # part of region `alias` from `alias_offset`


class RegionFlag(IntFlag):
    DIRTY_LOG = 0x1  # remember which pages are written: vmlib_region_dirty()
    ROM = 0x2  # no guest writes whatever `prot` says; the host may write
    SHARED = 0x4  # BACKING_FD: writes reach the file; without it they stay private


class Translate(IntEnum):
    OK = 0
    NOT_PRESENT = 1
    PROTECTION = 2  # the page tables forbid the access at the current privilege level
    RESERVED_BIT = 3
    NON_CANONICAL = 4
    TABLE = 5  # a page table lies outside memory


class Reason(IntEnum):
    NONE = 0
    PIO = 1  # port access that no handler took
    MMIO = 2  # access to a guest-physical hole that no handler took
    MSR = 3  # RDMSR or WRMSR
    CPUID = 4  # CPUID of a leaf that is to be returned
    HYPERCALL = 5  # VMCALL or VMMCALL
    HLT = 6  # the vCPU is halted
    EXCEPTION = 7  # exception about to be delivered to the guest
    MEMORY_FAULT = 8  # access that a region's protection forbids, or fetch from a hole
    DEBUG = 9  # single step or a breakpoint of the host
    INTERRUPT_WINDOW = 10  # the guest can take an external interrupt now
    SHUTDOWN = 11  # triple fault
    CANCELLED = 12  # vmlib_vcpu_cancel() or vmlib_vcpu_cancel_run()
    DEADLINE = 13  # vmlib_run_args.deadline_ns has passed
    BUDGET = 14  # vmlib_run_args.budget instructions have retired
    STOPPED = 15  # a handler answered STOP
    INTERNAL = 16  # the backend met something it cannot execute


class ExitFlag(IntFlag):
    PENDING = 0x1  # waits for vmlib_vcpu_complete() or vmlib_vcpu_complete_fault()
    INEXACT = 0x2  # `instructions` is an estimate
    OVERSHOT = 0x4  # more instructions retired than the budget allowed


class Mode(IntEnum):
    REAL = 0
    V86 = 1
    PROT16 = 2  # protected mode, 16-bit code
    PROT32 = 3
    COMPAT16 = 4  # long mode, compatibility code
    COMPAT32 = 5
    LONG64 = 6


class Access(IntEnum):
    READ = 0
    WRITE = 1
    EXEC = 2


class EventType(IntEnum):
    NONE = 0
    INTERRUPT = 1  # external interrupt
    NMI = 2
    EXCEPTION = 3  # hardware exception: fault, trap or abort by its vector
    SOFTWARE_INT = 4  # INT n
    SOFTWARE_EXC = 5  # INT3, INTO
    PRIVILEGED_SW = 6  # INT1


class EventFlag(IntFlag):
    ERROR = 0x1  # error_code is pushed
    ADDRESS = 0x2  # page fault: address goes to CR2; debug exception: payload goes to DR6


class DebugCause(IntFlag):
    STEP = 0x1  # one instruction has retired
    BREAKPOINT = 0x2  # about to execute the instruction at `address`
    WATCHPOINT = 0x4  # the instruction that has retired touched `address`


class HandlerKind(IntEnum):
    PIO = 0  # port numbers. Chosen by the first port of the access
    MMIO = 1  # guest-physical addresses: holes, and writes that ROM or protection forbids
    MSR = 2  # MSR indices; comes before the backend's own handling of the MSR
    CPUID = 3  # CPUID leaves; the record holds the backend's own answer to change
    HYPERCALL = 4  # values of EAX at VMCALL or VMMCALL
    EXCEPTION = 5  # vectors 0 to 31; needs vmlib_vcpu_set_exception_exits()
    INTACK = 6  # indices of vCPUs: supplies the vector when the INTR line is served


class Answer(IntEnum):
    HANDLED = 0  # done: reads and questions have their answer in the record
    PASS = 1  # ask the next handler; the last one's PASS returns the record from run
    INJECT = 2  # raise vmlib_exit.inject instead of finishing the instruction
    STOP = 3  # as HANDLED; then run returns EXIT_STOPPED after the instruction


class DoorbellKind(IntEnum):
    PIO = 0
    MMIO = 1


class StateGroup(IntFlag):
    GPR = 0x1
    SEGMENTS = 0x2
    CONTROL = 0x4
    DEBUG = 0x8
    MSRS = 0x10
    FPU = 0x20  # x87 and SSE
    XSAVE = 0x40  # all XSAVE components; includes what STATE_FPU has
    EVENTS = 0x80
    ALL = 0xff
    CORE = 0x9f


class EventsFlag(IntFlag):
    SHADOW_STI = 0x1  # interrupts are held off by STI for one instruction
    SHADOW_MOVSS = 0x2  # ... by a load of SS
    NMI_BLOCKED = 0x4  # until IRET
    NMI_PENDING = 0x8
    HALTED = 0x10  # by HLT or MWAIT
    WAIT_SIPI = 0x20  # waits for a start-up IPI
    SHUTDOWN = 0x40  # after a triple fault
    SMM = 0x80
    SMI_PENDING = 0x100
    INIT_PENDING = 0x200
    SIPI_PENDING = 0x400
    INTR = 0x800  # level of the INTR line


class Reg(IntEnum):
    RAX = 0  # RAX to R15 are 0 to 15 in the hardware's order
    RCX = 1
    RDX = 2
    RBX = 3
    RSP = 4
    RBP = 5
    RSI = 6
    RDI = 7
    R8 = 8
    R9 = 9
    R10 = 10
    R11 = 11
    R12 = 12
    R13 = 13
    R14 = 14
    R15 = 15
    RIP = 16
    RFLAGS = 17
    CR0 = 18
    CR2 = 19
    CR3 = 20
    CR4 = 21
    CR8 = 22
    XCR0 = 23
    EFER = 24
    APIC_BASE = 25
    DR0 = 26
    DR1 = 27
    DR2 = 28
    DR3 = 29
    DR6 = 30
    DR7 = 31
    FS_BASE = 32
    GS_BASE = 33
    KERNEL_GS_BASE = 34
    TSC = 35
    ES = 64
    CS = 65
    SS = 66
    DS = 67
    FS = 68
    GS = 69
    LDTR = 70
    TR = 71
    GDTR = 72
    IDTR = 73
    XMM0 = 80
    XMM1 = 81
    XMM2 = 82
    XMM3 = 83
    XMM4 = 84
    XMM5 = 85
    XMM6 = 86
    XMM7 = 87
    XMM8 = 88
    XMM9 = 89
    XMM10 = 90
    XMM11 = 91
    XMM12 = 92
    XMM13 = 93
    XMM14 = 94
    XMM15 = 95
    YMM0 = 96
    YMM1 = 97
    YMM2 = 98
    YMM3 = 99
    YMM4 = 100
    YMM5 = 101
    YMM6 = 102
    YMM7 = 103
    YMM8 = 104
    YMM9 = 105
    YMM10 = 106
    YMM11 = 107
    YMM12 = 108
    YMM13 = 109
    YMM14 = 110
    YMM15 = 111
    ST0 = 112
    ST1 = 113
    ST2 = 114
    ST3 = 115
    ST4 = 116
    ST5 = 117
    ST6 = 118
    ST7 = 119


class Initial(IntEnum):
    RESET = 0  # power-on state: real mode at ffff0000 + fff0 (SDM Vol.3A 9.1)
    WAIT_SIPI = 1  # waits for vmlib_vcpu_sipi()


class RunFlag(IntFlag):
    WAIT_IN_HLT = 0x1  # sleep inside run while the vCPU is halted or waits for a start-up IPI
    SINGLE_STEP = 0x2  # return after one instruction (EXIT_DEBUG)


class BreakpointKind(IntEnum):
    OFF = 0
    EXEC = 1
    WRITE = 2
    ACCESS = 3  # read or write


class BootFormat(IntEnum):
    AUTO = 0  # look at the file; what no other format claims is refused
    FLAT = 1  # raw bytes, entered in real mode or 32-bit protected mode
    SECTOR = 2  # 512 bytes at 0000:7c00, real mode
    ELF = 3  # ELF32: flat 32-bit protected mode; ELF64: long mode, first 4 GiB mapped 1:1
    MULTIBOOT = 4  # Multiboot 1 (specification 0.6.96), ELF32 or address fields
    PVH = 5  # ELF with a Xen note that names a 32-bit entry
    LINUX = 6  # bzImage, by the 64-bit or else the 32-bit boot protocol


class MemoryType(IntEnum):
    RAM = 1
    RESERVED = 2
    ACPI = 3
    NVS = 4


class ArgType(IntEnum):
    INT = 0  # integer or guest address in `value`
    F64 = 1  # double: its bits in `value`
    IN = 2  # pointer to a copy of `data` on the guest's stack
    OUT = 3  # pointer to zeros; copied to `data` when the function has returned
    INOUT = 4  # both


class CallEnd(IntEnum):
    RETURNED = 0
    FAULT = 1  # exception, shutdown, or access that memory forbids: see the record
    LIMIT = 2  # budget or deadline
    STOPPED = 3  # a handler, or vmlib_vcpu_cancel()
    EXIT = 4  # something that no handler takes; a read waits for vmlib_vcpu_complete()


class MachineFlag(IntFlag):
    NO_HPET = 0x1
    UNCLAIMED_EXITS = 0x2
    DIRTY_LOG = 0x4  # RAM with REGION_DIRTY_LOG


class DiskFlag(IntFlag):
    READ_ONLY = 0x1
    OVERLAY = 0x2  # guest writes stay in memory and are lost with the machine


class MachineEnd(IntEnum):
    POWER_OFF = 1
    RESET = 2  # keyboard controller, port 92, port cf9, ACPI reset register
    DEBUG_EXIT = 3  # `value` was written to port f4
    SHUTDOWN = 4  # triple fault
    TIMEOUT = 5
    STOPPED = 6  # vmlib_machine_stop()
    EXIT = 7  # an exit that the machine cannot answer; see exit_reason and text
    ERROR = 8  # a call of the library failed with `error`


class ConsoleFlag(IntFlag):
    VIRTIO = 0x1  # input goes to the virtio console, not to the serial port


class LockstepGrain(IntEnum):
    EXIT = 0  # compare at exit records; step only to locate a difference
    INSN = 1  # compare after every instruction; both sides must single-step


class LockstepFlag(IntFlag):
    COPY = 0x1  # first copy memory and state of side 0 to side 1
    OWN_DEVICES = 0x2
    X87_POINTERS = 0x4  # compare the x87 FOP, FIP and FDP, too


class LockstepEnd(IntEnum):
    LIMIT = 1  # as many records (instruction grain: steps) as asked for
    DIFFERENCE = 2
    HALTED = 3  # HLT, and the exit function did not go on
    SHUTDOWN = 4  # triple fault on both sides
    STOPPED = 5  # the exit function answered STOP, or _stop()
    STUCK = 6  # a side gave no record within the deadline


class LockstepKind(IntEnum):
    RECORD = 1  # a field of the exit record
    REGISTER = 2
    MEMORY = 3  # eight bytes from `gpa` on; one entry for each page


class MockAction(IntEnum):
    EXIT = 0  # report `exit`: PIO, MMIO, MSR, CPUID, hypercall, HLT, exception, ...; one instruction
    ACCESS = 1  # access guest memory as `exit.u.mmio` says; a hole becomes MMIO; one instruction
    RETIRE = 2  # retire `count` instructions
    SPIN = 3  # retire instructions until something ends the run or interrupts
    FAIL = 4  # the backend fails: run returns `code`


class MockOutcome(IntEnum):
    NOTHING = 0  # none has ended yet
    COMPLETED = 1  # the instruction completed with the values in `exit`
    FAULTED = 2  # `event` was raised instead


class MockCall(IntEnum):
    MEM_UPDATE = 0
    VCPU_CREATE = 1
    RUN = 2
    COMPLETE = 3
    GET_STATE = 4
    SET_STATE = 5
    INJECT = 6


class RingFlag(IntFlag):
    DROP = 0x1


class WatchFlag(IntFlag):
    PASS = 0x1


VERSION_MAJOR: Final = 0
VERSION_MINOR: Final = 1
VERSION_PATCH: Final = 0
VERSION: Final = 1000
OK: Final = 0
E_LAST: Final = -14  # lowest code in use by the library
E_USER: Final = -1000
BACKEND_LAST: Final = 4
FEATURE_COUNT: Final = 21
PAGE_SIZE: Final = 4096
MAX_VCPUS: Final = 64
CPUID_SUBLEAF: Final = 1
CPUID_MAX: Final = 64  # most leaves of one model
VM_BACKENDS: Final = 4
MAX_REGIONS: Final = 1024
TRANSLATION_MEMORY: Final = 1  # a region is behind the address
DIRTY_CLEAR: Final = 1  # start over for the pages that are reported
EXIT_COUNT: Final = 17
HANDLER_KINDS: Final = 7
HANDLER_HEADER: Final = 1  # fill the record's header before each call (costs some 10 ns)
DOORBELL_MATCH: Final = 1  # only writes of `value`; others go on to handlers
MAX_HANDLERS: Final = 1024
SEGMENT_UNUSABLE: Final = 65536
MTRR_VARIABLE: Final = 8
XSAVE_MAX: Final = 4096
REG_COUNT: Final = 36
APIC_ID_INDEX: Final = 4294967295  # the APIC ID is the index
BREAKPOINTS: Final = 4
BOOT_FORMATS: Final = 7
BOOT_MEMORY_MAX: Final = 64  # most ranges of a map
BOOT_MODULES_MAX: Final = 64
ARGS_MAX: Final = 16
MACHINE_TIME_HOST: Final = 18446744073709551615
HANDOFF_REPEAT: Final = 1
LOCKSTEP_REGIONS: Final = 16
MOCK_CALLS: Final = 7
RING_CAPACITY_MAX: Final = 16777216

__all__ = [
    "ErrorCode",
    "LogLevel",
    "Backend",
    "Feature",
    "Support",
    "TimeMode",
    "MsrPolicy",
    "Prot",
    "Backing",
    "RegionFlag",
    "Translate",
    "Reason",
    "ExitFlag",
    "Mode",
    "Access",
    "EventType",
    "EventFlag",
    "DebugCause",
    "HandlerKind",
    "Answer",
    "DoorbellKind",
    "StateGroup",
    "EventsFlag",
    "Reg",
    "Initial",
    "RunFlag",
    "BreakpointKind",
    "BootFormat",
    "MemoryType",
    "ArgType",
    "CallEnd",
    "MachineFlag",
    "DiskFlag",
    "MachineEnd",
    "ConsoleFlag",
    "LockstepGrain",
    "LockstepFlag",
    "LockstepEnd",
    "LockstepKind",
    "MockAction",
    "MockOutcome",
    "MockCall",
    "RingFlag",
    "WatchFlag",
    "VERSION_MAJOR",
    "VERSION_MINOR",
    "VERSION_PATCH",
    "VERSION",
    "OK",
    "E_LAST",
    "E_USER",
    "BACKEND_LAST",
    "FEATURE_COUNT",
    "PAGE_SIZE",
    "MAX_VCPUS",
    "CPUID_SUBLEAF",
    "CPUID_MAX",
    "VM_BACKENDS",
    "MAX_REGIONS",
    "TRANSLATION_MEMORY",
    "DIRTY_CLEAR",
    "EXIT_COUNT",
    "HANDLER_KINDS",
    "HANDLER_HEADER",
    "DOORBELL_MATCH",
    "MAX_HANDLERS",
    "SEGMENT_UNUSABLE",
    "MTRR_VARIABLE",
    "XSAVE_MAX",
    "REG_COUNT",
    "APIC_ID_INDEX",
    "BREAKPOINTS",
    "BOOT_FORMATS",
    "BOOT_MEMORY_MAX",
    "BOOT_MODULES_MAX",
    "ARGS_MAX",
    "MACHINE_TIME_HOST",
    "HANDOFF_REPEAT",
    "LOCKSTEP_REGIONS",
    "MOCK_CALLS",
    "RING_CAPACITY_MAX",
]
