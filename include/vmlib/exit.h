/** @file
 * Exit records: what the guest did that the host has to know.
 */
#ifndef VMLIB_EXIT_H
#define VMLIB_EXIT_H

#include <vmlib/vm.h>

/** @defgroup exit Exits
 * doc/exit-contract.md is the specification of when each record appears and in which state the vCPU
 * then is.
 * @{ */

#define VMLIB_EXIT_NONE      0u
#define VMLIB_EXIT_PIO       1u /**< port access that no handler took */
#define VMLIB_EXIT_MMIO      2u /**< access to a guest-physical hole that no handler took */
#define VMLIB_EXIT_MSR       3u /**< RDMSR or WRMSR */
#define VMLIB_EXIT_CPUID     4u /**< CPUID of a leaf that is to be returned */
#define VMLIB_EXIT_HYPERCALL 5u /**< VMCALL or VMMCALL */
#define VMLIB_EXIT_HLT       6u /**< the vCPU is halted */
#define VMLIB_EXIT_EXCEPTION 7u /**< exception about to be delivered to the guest */
#define VMLIB_EXIT_MEMORY_FAULT \
    8u /**< access that a region's protection forbids, or fetch from a hole */
#define VMLIB_EXIT_DEBUG            9u  /**< single step or a breakpoint of the host */
#define VMLIB_EXIT_INTERRUPT_WINDOW 10u /**< the guest can take an external interrupt now */
#define VMLIB_EXIT_SHUTDOWN         11u /**< triple fault */
#define VMLIB_EXIT_CANCELLED        12u /**< vmlib_vcpu_cancel() or vmlib_vcpu_cancel_run() */
#define VMLIB_EXIT_DEADLINE         13u /**< vmlib_run_args.deadline_ns has passed */
#define VMLIB_EXIT_BUDGET           14u /**< vmlib_run_args.budget instructions have retired */
#define VMLIB_EXIT_STOPPED          15u /**< a handler answered #VMLIB_STOP */
#define VMLIB_EXIT_INTERNAL         16u /**< the backend met something it cannot execute */
#define VMLIB_EXIT_COUNT            17u

/* vmlib_exit.flags */
#define VMLIB_EXIT_F_PENDING \
    0x1u /**< waits for vmlib_vcpu_complete() or vmlib_vcpu_complete_fault() */
#define VMLIB_EXIT_F_INEXACT  0x2u /**< `instructions` is an estimate */
#define VMLIB_EXIT_F_OVERSHOT 0x4u /**< more instructions retired than the budget allowed */

/* vmlib_exit.mode: how the guest's code segment executes */
#define VMLIB_MODE_REAL     0u
#define VMLIB_MODE_V86      1u
#define VMLIB_MODE_PROT16   2u /**< protected mode, 16-bit code */
#define VMLIB_MODE_PROT32   3u
#define VMLIB_MODE_COMPAT16 4u /**< long mode, compatibility code */
#define VMLIB_MODE_COMPAT32 5u
#define VMLIB_MODE_LONG64   6u

#define VMLIB_ACCESS_READ  0u
#define VMLIB_ACCESS_WRITE 1u
#define VMLIB_ACCESS_EXEC  2u

/* vmlib_event.type */
#define VMLIB_EVENT_NONE          0u
#define VMLIB_EVENT_INTERRUPT     1u /**< external interrupt */
#define VMLIB_EVENT_NMI           2u
#define VMLIB_EVENT_EXCEPTION     3u /**< hardware exception: fault, trap or abort by its vector */
#define VMLIB_EVENT_SOFTWARE_INT  4u /**< INT n */
#define VMLIB_EVENT_SOFTWARE_EXC  5u /**< INT3, INTO */
#define VMLIB_EVENT_PRIVILEGED_SW 6u /**< INT1 */

#define VMLIB_EVENT_HAS_ERROR 1u /**< error_code is pushed */
#define VMLIB_EVENT_HAS_ADDRESS \
    2u /**< page fault: address goes to CR2; debug exception: payload goes to DR6 */

/** An interrupt or exception on its way to the guest. */
struct vmlib_event {
    uint32_t type;   /**< VMLIB_EVENT_ constant */
    uint32_t vector; /**< 0 to 255 */
    uint32_t flags;
    uint32_t error_code;
    uint32_t
        insn_len; /**< software interrupts and exceptions: length of the instruction, 1 to 15 */
    uint32_t reserved;
    uint64_t address;
};
#define VMLIB_EVENT_INIT    \
    {                       \
        0, 0, 0, 0, 0, 0, 0 \
    }

/** #VMLIB_EXIT_PIO. One element of a string instruction at a time. */
struct vmlib_exit_pio {
    uint16_t port;
    uint8_t width;  /**< bytes: 1, 2, 4 */
    uint8_t write;  /**< 1: OUT */
    uint8_t string; /**< INS or OUTS */
    uint8_t rep;    /**< with REP prefix */
    uint8_t reserved[2];
    uint32_t value; /**< OUT: what the guest wrote. IN: the answer */
    uint32_t reserved2;
    uint64_t count; /**< REP: elements left, this one included; otherwise 1 */
};

/** #VMLIB_EXIT_MMIO. Wider or page-crossing accesses come as several records in ascending order. */
struct vmlib_exit_mmio {
    vmlib_gpa gpa;
    vmlib_gva gva;  /**< linear address; in handlers certain only with #VMLIB_HANDLER_HEADER */
    uint64_t value; /**< write: what the guest wrote; read: the answer. Zero-extended */
    uint8_t width;  /**< bytes: 1 to 8 */
    uint8_t write;
    uint8_t reserved[6];
};

/** #VMLIB_EXIT_MSR */
struct vmlib_exit_msr {
    uint32_t index;
    uint8_t write;
    uint8_t known; /**< 1: the backend keeps this MSR itself */
    uint8_t reserved[2];
    uint64_t value;
};

/** #VMLIB_EXIT_CPUID. The registers hold the backend's own answer until they are replaced. */
struct vmlib_exit_cpuid {
    uint32_t leaf, subleaf;
    uint32_t eax, ebx, ecx, edx;
};

/** #VMLIB_EXIT_HYPERCALL: the registers at the call. */
struct vmlib_exit_hypercall {
    uint64_t rax, rbx, rcx, rdx, rsi, rdi;
    uint64_t result; /**< answer: goes to RAX (EAX outside 64-bit mode) */
};

/** #VMLIB_EXIT_EXCEPTION */
struct vmlib_exit_exception {
    struct vmlib_event event;
};

/** #VMLIB_EXIT_MEMORY_FAULT */
struct vmlib_exit_memory_fault {
    vmlib_gpa gpa;
    vmlib_gva gva;
    uint32_t access; /**< VMLIB_ACCESS_ constant */
    uint32_t width;  /**< bytes; 0 when not known (instruction fetch) */
    uint32_t mapped; /**< 1: a region is there and forbids it; 0: a hole */
    uint32_t prot;   /**< VMLIB_PROT_ bits of that region */
};

/* vmlib_exit_debug.cause */
#define VMLIB_DEBUG_STEP       1u /**< one instruction has retired */
#define VMLIB_DEBUG_BREAKPOINT 2u /**< about to execute the instruction at `address` */
#define VMLIB_DEBUG_WATCHPOINT 4u /**< the instruction that has retired touched `address` */
/** #VMLIB_EXIT_DEBUG */
struct vmlib_exit_debug {
    uint32_t cause; /**< VMLIB_DEBUG_ bits */
    uint32_t slots; /**< bit n: breakpoint n matched */
    vmlib_gva address;
};

/** #VMLIB_EXIT_INTERRUPT_WINDOW, and the question to an interrupt-acknowledge handler. */
struct vmlib_exit_interrupt {
    uint32_t
        requested;   /**< 1: by vmlib_vcpu_request_interrupt_window(); 0: the INTR line is high */
    uint32_t vector; /**< answer of an acknowledge handler, 0 to 255 */
};

/** #VMLIB_EXIT_INTERNAL */
struct vmlib_exit_internal {
    uint32_t code; /**< backend specific */
    uint32_t reserved;
    uint64_t data[4];
    char text[64];
};

/** One guest event. */
struct vmlib_exit {
    uint32_t size;   /**< sizeof of this struct; set by the caller of run */
    uint32_t reason; /**< VMLIB_EXIT_ constant */
    uint32_t flags;  /**< VMLIB_EXIT_F_ bits */
    uint8_t mode;    /**< VMLIB_MODE_ constant */
    uint8_t cpl;
    uint8_t insn_len; /**< bytes of the instruction that caused the exit; 0 when there is none */
    uint8_t reserved;
    uint8_t insn[16];          /**< its bytes, zero-filled */
    uint64_t rip;              /**< its address (offset in CS), also when it has completed */
    uint64_t instructions;     /**< retired since the last run returned; in a handler: not set */
    uint64_t generation;       /**< number of this run of this vCPU */
    struct vmlib_event inject; /**< filled by a handler that answers #VMLIB_INJECT */
    union {
        struct vmlib_exit_pio pio;
        struct vmlib_exit_mmio mmio;
        struct vmlib_exit_msr msr;
        struct vmlib_exit_cpuid cpuid;
        struct vmlib_exit_hypercall hypercall;
        struct vmlib_exit_exception exception;
        struct vmlib_exit_memory_fault memory_fault;
        struct vmlib_exit_debug debug;
        struct vmlib_exit_interrupt interrupt;
        struct vmlib_exit_internal internal;
        uint64_t pad[16];
    } u;
};

#define VMLIB_EXIT_INIT                                                              \
    {                                                                                \
        sizeof(struct vmlib_exit), 0, 0, 0, 0, 0, 0, {0}, 0, 0, 0, VMLIB_EVENT_INIT, \
        {                                                                            \
            {                                                                        \
                0, 0, 0, 0, 0, {0, 0}, 0, 0, 0                                       \
            }                                                                        \
        }                                                                            \
    }

#ifdef __cplusplus
extern "C" {
#endif

/**
 * Return the short name of an exit reason ("mmio"), or NULL for an unknown number.
 * @thread{any}
 */
VMLIB_API const char *vmlib_exit_name(uint32_t reason);

#ifdef __cplusplus
}
#endif
/** @} */
#endif
