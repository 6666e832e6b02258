-- Declarations for LuaJIT's FFI. Written by bindings/gen/generate from the public headers: do not edit.
local cdef = [[
uint32_t vmlib_version(void);
const char *vmlib_strerror(int code);
const char *vmlib_last_error(void);
typedef void (*vmlib_log_fn)(void *opaque, uint32_t level, const char *text);
struct vmlib_backend_info {
    uint32_t size;
    uint32_t backend;
    uint32_t available;
    uint32_t phys_bits;
    uint32_t max_vcpus;
    uint32_t reserved;
    char name[32];
    char reason[224];
};
int vmlib_backend_query(uint32_t backend, struct vmlib_backend_info *info);
int vmlib_backend_feature(uint32_t backend, uint32_t feature, uint32_t *support);
const char *vmlib_feature_name(uint32_t feature);
int vmlib_backend_by_name(const char *name, uint32_t *backend);
typedef struct vmlib_vm vmlib_vm;
typedef struct vmlib_vcpu vmlib_vcpu;
typedef uint64_t vmlib_gpa;
typedef uint64_t vmlib_gva;
struct vmlib_cpuid_leaf {
    uint32_t leaf;
    uint32_t subleaf;
    uint32_t flags;
    uint32_t eax, ebx, ecx, edx;
    uint32_t reserved;
};
struct vmlib_vm_config {
    uint32_t size;
    uint32_t backends[4];
    uint32_t time_mode;
    uint64_t required;
    uint64_t seed;
    uint32_t tsc_khz;
    uint32_t phys_bits;
    uint32_t msr_policy;
    uint32_t reserved;
    vmlib_log_fn log;
    void *log_opaque;
};
int vmlib_vm_create(const struct vmlib_vm_config *config, vmlib_vm **vm);
vmlib_vm *vmlib_vm_ref(vmlib_vm *vm);
void vmlib_vm_unref(vmlib_vm *vm);
uint32_t vmlib_vm_backend(const vmlib_vm *vm);
int vmlib_vm_clock(vmlib_vm *vm, uint64_t *ns);
uint32_t vmlib_vm_tsc_khz(const vmlib_vm *vm);
int vmlib_vm_set_cpuid(vmlib_vm *vm, const struct vmlib_cpuid_leaf *leaves,
                                 uint32_t count);
int vmlib_vm_vcpu(vmlib_vm *vm, uint32_t index, vmlib_vcpu **vcpu);
typedef struct vmlib_region vmlib_region;
struct vmlib_region_config {
    uint32_t size;
    uint32_t backing;
    vmlib_gpa gpa;
    uint64_t bytes;
    uint32_t prot;
    uint32_t flags;
    void *host;
    int32_t fd;
    uint32_t reserved;
    uint64_t fd_offset;
    vmlib_region *alias;
    uint64_t alias_offset;
};
struct vmlib_translation {
    uint32_t size;
    uint32_t fault;
    vmlib_gpa gpa;
    uint32_t error_code;
    uint32_t page_bits;
    uint32_t flags;
    uint32_t prot;
};
int vmlib_region_create(vmlib_vm *vm, const struct vmlib_region_config *config,
                                  vmlib_region **region);
vmlib_region *vmlib_region_ref(vmlib_region *region);
void vmlib_region_unref(vmlib_region *region);
int vmlib_region_protect(vmlib_region *region, uint32_t prot);
int vmlib_region_remove(vmlib_region *region);
int vmlib_region_host(vmlib_region *region, void **host);
int vmlib_region_written(vmlib_region *region, uint64_t offset, uint64_t bytes);
int vmlib_region_range(const vmlib_region *region, vmlib_gpa *gpa, uint64_t *bytes);
int vmlib_region_dirty(vmlib_region *region, uint64_t offset, uint64_t bytes,
                                 uint64_t *bitmap, uint32_t flags);
int vmlib_vm_read(vmlib_vm *vm, vmlib_gpa gpa, void *buffer, uint64_t bytes);
int vmlib_vm_write(vmlib_vm *vm, vmlib_gpa gpa, const void *buffer, uint64_t bytes);
int vmlib_vcpu_translate(vmlib_vcpu *vcpu, vmlib_gva gva, uint32_t access,
                                   struct vmlib_translation *translation);
int vmlib_vcpu_read_virt(vmlib_vcpu *vcpu, vmlib_gva gva, void *buffer, uint64_t bytes);
int vmlib_vcpu_write_virt(vmlib_vcpu *vcpu, vmlib_gva gva, const void *buffer,
                                    uint64_t bytes);
struct vmlib_event {
    uint32_t type;
    uint32_t vector;
    uint32_t flags;
    uint32_t error_code;
    uint32_t
        insn_len;
    uint32_t reserved;
    uint64_t address;
};
struct vmlib_exit_pio {
    uint16_t port;
    uint8_t width;
    uint8_t write;
    uint8_t string;
    uint8_t rep;
    uint8_t reserved[2];
    uint32_t value;
    uint32_t reserved2;
    uint64_t count;
};
struct vmlib_exit_mmio {
    vmlib_gpa gpa;
    vmlib_gva gva;
    uint64_t value;
    uint8_t width;
    uint8_t write;
    uint8_t reserved[6];
};
struct vmlib_exit_msr {
    uint32_t index;
    uint8_t write;
    uint8_t known;
    uint8_t reserved[2];
    uint64_t value;
};
struct vmlib_exit_cpuid {
    uint32_t leaf, subleaf;
    uint32_t eax, ebx, ecx, edx;
};
struct vmlib_exit_hypercall {
    uint64_t rax, rbx, rcx, rdx, rsi, rdi;
    uint64_t result;
};
struct vmlib_exit_exception {
    struct vmlib_event event;
};
struct vmlib_exit_memory_fault {
    vmlib_gpa gpa;
    vmlib_gva gva;
    uint32_t access;
    uint32_t width;
    uint32_t mapped;
    uint32_t prot;
};
struct vmlib_exit_debug {
    uint32_t cause;
    uint32_t slots;
    vmlib_gva address;
};
struct vmlib_exit_interrupt {
    uint32_t
        requested;
    uint32_t vector;
};
struct vmlib_exit_internal {
    uint32_t code;
    uint32_t reserved;
    uint64_t data[4];
    char text[64];
};
struct vmlib_exit {
    uint32_t size;
    uint32_t reason;
    uint32_t flags;
    uint8_t mode;
    uint8_t cpl;
    uint8_t insn_len;
    uint8_t reserved;
    uint8_t insn[16];
    uint64_t rip;
    uint64_t instructions;
    uint64_t generation;
    struct vmlib_event inject;
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
const char *vmlib_exit_name(uint32_t reason);
typedef struct vmlib_handler vmlib_handler;
typedef struct vmlib_doorbell vmlib_doorbell;
typedef int (*vmlib_handler_fn)(void *opaque, vmlib_vcpu *vcpu, struct vmlib_exit *exit);
typedef void (*vmlib_release_fn)(void *opaque);
struct vmlib_handler_config {
    uint32_t size;
    uint32_t kind;
    uint64_t first, last;
    uint32_t flags;
    uint32_t reserved;
    vmlib_handler_fn fn;
    void *opaque;
    vmlib_release_fn release;
};
struct vmlib_doorbell_config {
    uint32_t size;
    uint32_t kind;
    uint64_t address;
    uint32_t width;
    uint32_t flags;
    uint64_t value;
    int32_t fd;
    uint32_t reserved;
    void (*fn)(void *opaque,
               uint64_t value);
    void *opaque;
    vmlib_release_fn release;
};
int vmlib_handler_add(vmlib_vm *vm, const struct vmlib_handler_config *config,
                                vmlib_handler **handler);
int vmlib_handler_remove(vmlib_handler *handler);
vmlib_handler *vmlib_handler_ref(vmlib_handler *handler);
void vmlib_handler_unref(vmlib_handler *handler);
int vmlib_doorbell_add(vmlib_vm *vm, const struct vmlib_doorbell_config *config,
                                 vmlib_doorbell **doorbell);
int vmlib_doorbell_remove(vmlib_doorbell *doorbell);
vmlib_doorbell *vmlib_doorbell_ref(vmlib_doorbell *doorbell);
void vmlib_doorbell_unref(vmlib_doorbell *doorbell);
struct vmlib_gpr {
    uint64_t rax, rcx, rdx, rbx, rsp, rbp, rsi, rdi;
    uint64_t r8, r9, r10, r11, r12, r13, r14, r15;
    uint64_t rip;
    uint64_t rflags;
};
struct vmlib_segment {
    uint64_t base;
    uint32_t limit;
    uint32_t attributes;
    uint16_t selector;
    uint16_t reserved[3];
};
struct vmlib_table {
    uint64_t base;
    uint16_t limit;
    uint16_t reserved[3];
};
struct vmlib_segments {
    struct vmlib_segment es, cs, ss, ds, fs, gs, ldtr, tr;
    struct vmlib_table gdtr, idtr;
};
struct vmlib_control {
    uint64_t cr0, cr2, cr3, cr4, cr8;
    uint64_t xcr0;
    uint64_t efer;
    uint64_t apic_base;
    uint64_t
        pdpte[4];
};
struct vmlib_debug {
    uint64_t dr[4], dr6, dr7;
};
struct vmlib_msrs {
    uint64_t star, lstar, cstar, fmask;
    uint64_t kernel_gs_base;
    uint64_t tsc_aux;
    uint64_t sysenter_cs, sysenter_esp, sysenter_eip;
    uint64_t tsc;
    uint64_t tsc_adjust;
    uint64_t feature_control;
    uint64_t spec_ctrl;
    uint64_t misc_enable;
    uint64_t debugctl;
    uint64_t pat;
    uint64_t xss;
    uint64_t mcg_status, mcg_ctl;
    uint64_t mtrr_def_type;
    uint64_t mtrr_fixed[11];
    uint64_t mtrr_base[8], mtrr_mask[8];
    uint64_t reserved[8];
};
struct vmlib_fpu {
    uint8_t image[512];
};
struct vmlib_xsave {
    uint32_t bytes;
    uint32_t reserved;
    uint64_t features;
    uint8_t image[4096];
};
struct vmlib_events {
    uint32_t flags;
    uint32_t sipi_vector;
    struct vmlib_event
        injected;
    uint64_t pending_debug;
};
struct vmlib_state {
    uint32_t size;
    uint32_t reserved;
    struct vmlib_gpr gpr;
    struct vmlib_segments segments;
    struct vmlib_control control;
    struct vmlib_debug debug;
    struct vmlib_msrs msrs;
    struct vmlib_events events;
    struct vmlib_fpu fpu;
    struct vmlib_xsave xsave;
};
int vmlib_vcpu_get_state(vmlib_vcpu *vcpu, uint32_t groups, struct vmlib_state *state);
int vmlib_vcpu_set_state(vmlib_vcpu *vcpu, uint32_t groups,
                                   const struct vmlib_state *state);
int vmlib_vcpu_get_reg(vmlib_vcpu *vcpu, uint32_t reg, uint64_t *value);
int vmlib_vcpu_set_reg(vmlib_vcpu *vcpu, uint32_t reg, uint64_t value);
int vmlib_vcpu_get_reg_wide(vmlib_vcpu *vcpu, uint32_t reg, void *data, uint32_t bytes);
int vmlib_vcpu_set_reg_wide(vmlib_vcpu *vcpu, uint32_t reg, const void *data,
                                      uint32_t bytes);
struct vmlib_vcpu_config {
    uint32_t size;
    uint32_t index;
    uint32_t apic_id;
    uint32_t initial;
};
struct vmlib_run_args {
    uint32_t size;
    uint32_t flags;
    uint64_t deadline_ns;
    uint64_t budget;
    uint64_t generation;
};
struct vmlib_breakpoint {
    uint32_t size;
    uint32_t kind;
    vmlib_gva address;
    uint32_t width;
    uint32_t reserved;
};
int vmlib_vcpu_create(vmlib_vm *vm, const struct vmlib_vcpu_config *config,
                                vmlib_vcpu **vcpu);
vmlib_vcpu *vmlib_vcpu_ref(vmlib_vcpu *vcpu);
void vmlib_vcpu_unref(vmlib_vcpu *vcpu);
vmlib_vm *vmlib_vcpu_vm(const vmlib_vcpu *vcpu);
uint32_t vmlib_vcpu_index(const vmlib_vcpu *vcpu);
int vmlib_vcpu_run(vmlib_vcpu *vcpu, const struct vmlib_run_args *args,
                             struct vmlib_exit *exit);
int vmlib_vcpu_complete(vmlib_vcpu *vcpu, const void *data, uint32_t bytes);
int vmlib_vcpu_complete_fault(vmlib_vcpu *vcpu, uint32_t vector, uint32_t error_code);
int vmlib_vcpu_cancel(vmlib_vcpu *vcpu);
int vmlib_vcpu_cancel_run(vmlib_vcpu *vcpu, uint64_t generation);
uint64_t vmlib_vcpu_generation(const vmlib_vcpu *vcpu);
int vmlib_vcpu_inject(vmlib_vcpu *vcpu, const struct vmlib_event *event);
int vmlib_vcpu_set_intr(vmlib_vcpu *vcpu, uint32_t level);
int vmlib_vcpu_nmi(vmlib_vcpu *vcpu);
int vmlib_vcpu_init(vmlib_vcpu *vcpu);
int vmlib_vcpu_sipi(vmlib_vcpu *vcpu, uint32_t vector);
int vmlib_vcpu_request_interrupt_window(vmlib_vcpu *vcpu, uint32_t on);
int vmlib_vcpu_set_exception_exits(vmlib_vcpu *vcpu, uint32_t mask);
int vmlib_vcpu_set_breakpoint(vmlib_vcpu *vcpu, uint32_t slot,
                                        const struct vmlib_breakpoint *breakpoint);
int vmlib_vcpu_set_cpuid(vmlib_vcpu *vcpu, const struct vmlib_cpuid_leaf *leaves,
                                   uint32_t count);
int vmlib_vcpu_get_cpuid(vmlib_vcpu *vcpu, struct vmlib_cpuid_leaf *leaves,
                                   uint32_t *count);
struct vmlib_boot_memory {
    vmlib_gpa gpa;
    uint64_t bytes;
    uint32_t type;
    uint32_t reserved;
};
struct vmlib_boot_module {
    const void *data;
    uint64_t bytes;
    const char *cmdline;
};
struct vmlib_boot_params {
    uint32_t size;
    uint32_t format;
    const void *kernel;
    uint64_t kernel_bytes;
    const void *initrd;
    uint64_t initrd_bytes;
    const char *cmdline;
    const struct vmlib_boot_module *modules;
    uint32_t module_count;
    uint32_t memory_count;
    const struct vmlib_boot_memory *memory;
    vmlib_gpa rsdp;
    vmlib_gpa load_address;
    uint64_t entry_offset;
    uint32_t entry_bits;
    uint32_t reserved;
};
struct vmlib_boot_result {
    uint32_t size;
    uint32_t format;
    uint32_t bits;
    uint32_t reserved;
    vmlib_gpa entry;
    vmlib_gpa kernel_gpa;
    uint64_t kernel_bytes;
    vmlib_gpa initrd_gpa;
    vmlib_gpa info_gpa;
};
struct vmlib_boot_file {
    const void *data;
    uint64_t bytes;
};
int vmlib_boot_load(vmlib_vm *vm, vmlib_vcpu *vcpu,
                              const struct vmlib_boot_params *params,
                              struct vmlib_boot_result *result);
int vmlib_boot_detect(const void *kernel, uint64_t bytes, uint32_t *format);
const char *vmlib_boot_format_name(uint32_t format);
int vmlib_boot_file_open(const char *path, struct vmlib_boot_file *file);
void vmlib_boot_file_close(struct vmlib_boot_file *file);
const char *vmlib_devices_last_error(void);
struct vmlib_arg {
    uint32_t type;
    uint32_t reserved;
    uint64_t value;
    void *data;
    uint64_t bytes;
};
struct vmlib_call_config {
    uint32_t size;
    uint32_t exceptions;
    vmlib_gva function;
    vmlib_gva stack;
    uint64_t budget;
    uint64_t deadline_ns;
    const struct vmlib_arg *args;
    uint32_t arg_count;
    uint32_t reserved;
};
struct vmlib_call_result {
    uint32_t size;
    uint32_t end;
    uint64_t value;
    uint64_t xmm0;
    uint64_t instructions;
    struct vmlib_exit exit;
};
int vmlib_call(vmlib_vcpu *vcpu, const struct vmlib_call_config *config,
                         struct vmlib_call_result *result);
int vmlib_elf_symbol(const void *elf, uint64_t bytes, const char *name, uint64_t *address,
                               uint64_t *length);
typedef struct vmlib_machine vmlib_machine;
typedef void (*vmlib_console_fn)(void *opaque, const void *data, size_t bytes);
struct vmlib_machine_config {
    uint32_t size;
    uint32_t flags;
    vmlib_console_fn serial;
    void *serial_opaque;
    vmlib_console_fn
        debug;
    void *debug_opaque;
    uint64_t rtc_seconds;
    uint64_t timeout_ns;
};
struct vmlib_disk_config {
    uint32_t size;
    uint32_t flags;
    const char *path;
    int32_t fd;
    uint32_t reserved;
    const char *serial;
};
struct vmlib_machine_result {
    uint32_t size;
    uint32_t end;
    uint32_t value;
    uint32_t vcpu;
    int32_t error;
    uint32_t
        exit_reason;
    uint64_t rip;
    char text[128];
};
struct vmlib_machine_stats {
    uint32_t size;
    uint32_t vcpus;
    uint64_t instructions;
    uint64_t exits[32];
    uint64_t pio;
    uint64_t mmio;
    uint64_t msr;
    uint64_t interrupts;
    uint64_t unclaimed;
};
int vmlib_machine_create(vmlib_vm *vm, const struct vmlib_machine_config *config,
                                   vmlib_machine **machine);
void vmlib_machine_destroy(vmlib_machine *machine);
int vmlib_machine_add_ram(vmlib_machine *machine, uint64_t bytes);
int vmlib_machine_ram(vmlib_machine *machine, uint32_t index, vmlib_region **region);
int vmlib_machine_add_vcpu(vmlib_machine *machine, vmlib_vcpu **vcpu);
int vmlib_machine_add_disk(vmlib_machine *machine,
                                     const struct vmlib_disk_config *config);
int vmlib_machine_add_console(vmlib_machine *machine, vmlib_console_fn write,
                                        void *opaque);
int vmlib_machine_add_rng(vmlib_machine *machine, uint64_t seed);
int vmlib_machine_boot(vmlib_machine *machine, const struct vmlib_boot_params *params,
                                 struct vmlib_boot_result *result);
int vmlib_machine_run_vcpu(vmlib_machine *machine, vmlib_vcpu *vcpu,
                                     struct vmlib_machine_result *result);
int vmlib_machine_step(vmlib_machine *machine, vmlib_vcpu *vcpu, uint64_t budget,
                                 struct vmlib_exit *exit);
int vmlib_machine_attach(vmlib_machine *machine, vmlib_vm *vm);
int vmlib_machine_move(vmlib_machine *machine, vmlib_vm *vm);
int vmlib_machine_stop(vmlib_machine *machine);
int vmlib_machine_serial_input(vmlib_machine *machine, const void *data, size_t bytes,
                                         size_t *taken);
int vmlib_machine_console_input(vmlib_machine *machine, const void *data, size_t bytes,
                                          size_t *taken);
int vmlib_machine_memory_map(vmlib_machine *machine, struct vmlib_boot_memory *map,
                                       uint32_t *count);
int vmlib_machine_stats(vmlib_machine *machine, struct vmlib_machine_stats *stats);
const char *vmlib_machine_end_name(uint32_t end);
typedef struct vmlib_console vmlib_console;
struct vmlib_console_config {
    uint32_t size;
    uint32_t flags;
    uint64_t limit;
    vmlib_console_fn copy;
    void *copy_opaque;
};
int vmlib_console_create(const struct vmlib_console_config *config,
                                   vmlib_console **console);
void vmlib_console_destroy(vmlib_console *console);
void vmlib_console_output(void *console, const void *data, size_t bytes);
int vmlib_console_start(vmlib_console *console, vmlib_machine *machine,
                                  vmlib_vcpu *const *vcpus, uint32_t count);
int vmlib_console_expect(vmlib_console *console, const char *const *texts, uint32_t count,
                                   uint64_t timeout_ns, uint32_t *index);
int vmlib_console_before(vmlib_console *console, void *data, size_t *bytes);
int vmlib_console_send(vmlib_console *console, const void *data, size_t bytes,
                                 uint64_t timeout_ns);
int vmlib_console_wait(vmlib_console *console, uint64_t timeout_ns,
                                 struct vmlib_machine_result *result);
int vmlib_handoff_share(vmlib_region *region, vmlib_vm *vm, uint32_t prot, uint32_t flags,
                                  vmlib_region **shared);
int vmlib_handoff_cpuid(vmlib_vcpu *a, vmlib_vcpu *b, struct vmlib_cpuid_leaf *leaves,
                                  uint32_t *count);
int vmlib_handoff_memory(vmlib_region *from, vmlib_region *to);
int vmlib_handoff_vcpu(vmlib_vcpu *from, vmlib_vcpu *to, uint32_t flags,
                                 struct vmlib_exit *exit);
typedef struct vmlib_lockstep vmlib_lockstep;
struct vmlib_lockstep_region {
    vmlib_region *region[2];
};
struct vmlib_lockstep_insn {
    uint64_t rip;
    uint8_t bytes[16];
    uint32_t length;
    uint32_t mode;
    const struct vmlib_state *before;
};
struct vmlib_lockstep_mask {
    uint64_t rflags;
    uint32_t gpr;
    uint32_t fpu_word;
};
typedef void (*vmlib_lockstep_mask_fn)(void *opaque, const struct vmlib_lockstep_insn *insn,
                                       struct vmlib_lockstep_mask *mask);
typedef int (*vmlib_lockstep_exit_fn)(void *opaque, vmlib_lockstep *lockstep,
                                      struct vmlib_exit *exit);
typedef int (*vmlib_lockstep_run_fn)(void *opaque, unsigned side, const struct vmlib_run_args *args,
                                     struct vmlib_exit *exit);
struct vmlib_lockstep_config {
    uint32_t size;
    uint32_t grain;
    uint32_t flags;
    uint32_t interval;
    uint32_t history;
    uint32_t regions;
    vmlib_vcpu *vcpu[2];
    const struct vmlib_lockstep_region *region;
    uint64_t slice;
    uint64_t deadline_ns;
    vmlib_lockstep_exit_fn exit;
    vmlib_lockstep_mask_fn mask;
    vmlib_lockstep_run_fn run;
    void *opaque;
};
struct vmlib_lockstep_result {
    uint32_t size;
    uint32_t end;
    uint32_t located;
    uint32_t differences;
    uint64_t records;
    uint64_t comparisons;
    uint64_t excused;
    uint64_t instructions[2];
    uint64_t equal_at;
    struct vmlib_lockstep_insn insn;
};
struct vmlib_lockstep_difference {
    uint32_t size;
    uint32_t kind;
    uint32_t group;
    uint32_t bytes;
    vmlib_gpa gpa;
    uint64_t value[2];
    char name[24];
};
int vmlib_lockstep_create(const struct vmlib_lockstep_config *config,
                                    vmlib_lockstep **lockstep);
void vmlib_lockstep_destroy(vmlib_lockstep *lockstep);
int vmlib_lockstep_run(vmlib_lockstep *lockstep, uint64_t limit,
                                 struct vmlib_lockstep_result *result);
int vmlib_lockstep_stop(vmlib_lockstep *lockstep);
int vmlib_lockstep_difference(vmlib_lockstep *lockstep, uint32_t index,
                                        struct vmlib_lockstep_difference *difference);
int vmlib_lockstep_report(vmlib_lockstep *lockstep, char *text, uint64_t *bytes);
int vmlib_lockstep_intr(vmlib_lockstep *lockstep, uint32_t level);
int vmlib_lockstep_nmi(vmlib_lockstep *lockstep);
int vmlib_lockstep_write(vmlib_lockstep *lockstep, vmlib_gpa gpa, const void *data,
                                   uint64_t bytes);
struct vmlib_mock_step {
    uint32_t size;
    uint32_t action;
    uint64_t count;
    int32_t code;
    uint32_t reserved;
    struct vmlib_exit exit;
};
struct vmlib_mock_result {
    uint32_t size;
    uint32_t outcome;
    uint64_t steps;
    uint64_t delivered;
    struct vmlib_event event;
    struct vmlib_exit exit;
};
int vmlib_mock_script(vmlib_vcpu *vcpu, const struct vmlib_mock_step *steps,
                                uint32_t count);
int vmlib_mock_result(vmlib_vcpu *vcpu, struct vmlib_mock_result *result);
int vmlib_mock_fail(vmlib_vm *vm, uint32_t call, uint32_t after, int32_t code);
int vmlib_backend_pick(uint64_t required, uint32_t *backend, char *why, size_t bytes);
typedef struct vmlib_ring vmlib_ring;
struct vmlib_ring_event {
    uint64_t address;
    uint64_t value;
    uint32_t vcpu;
    uint8_t kind;
    uint8_t width;
    uint8_t write;
    uint8_t reserved;
};
struct vmlib_ring_config {
    uint32_t size;
    uint32_t capacity;
    uint32_t flags;
    uint32_t reserved;
};
struct vmlib_ring_watch {
    uint32_t size;
    uint32_t kind;
    uint64_t first, last;
    uint64_t answer;
    uint32_t flags;
    uint32_t reserved;
};
int vmlib_ring_create(vmlib_vm *vm, const struct vmlib_ring_config *config,
                                vmlib_ring **ring);
void vmlib_ring_destroy(vmlib_ring *ring);
int vmlib_ring_watch(vmlib_ring *ring, const struct vmlib_ring_watch *watch);
int vmlib_ring_peek(vmlib_ring *ring, const struct vmlib_ring_event **events,
                              uint32_t *count);
int vmlib_ring_consume(vmlib_ring *ring, uint32_t count);
uint64_t vmlib_ring_lost(vmlib_ring *ring);
]]
local constants = {
    VERSION_MAJOR = 0,
    VERSION_MINOR = 1,
    VERSION_PATCH = 0,
    VERSION = 1000,
    OK = 0,
    E_INVAL = -1,
    E_NOMEM = -2,
    E_STATE = -3,
    E_BUSY = -4,
    E_EXISTS = -5,
    E_RANGE = -6,
    E_NOTFOUND = -7,
    E_UNSUPPORTED = -8,
    E_UNAVAILABLE = -9,
    E_FORK = -10,
    E_FAULT = -11,
    E_IO = -12,
    E_LIMIT = -13,
    E_INTERNAL = -14,
    E_LAST = -14,
    E_USER = -1000,
    LOG_ERROR = 1,
    LOG_WARNING = 2,
    LOG_INFO = 3,
    LOG_DEBUG = 4,
    BACKEND_NONE = 0,
    BACKEND_SOFT = 1,
    BACKEND_MOCK = 2,
    BACKEND_KVM = 3,
    BACKEND_VTX = 4,
    BACKEND_LAST = 4,
    FEATURE_GUEST_CODE = 0,
    FEATURE_REAL_MODE = 1,
    FEATURE_LONG_MODE = 2,
    FEATURE_AVX2 = 3,
    FEATURE_SMP = 4,
    FEATURE_DETERMINISTIC = 5,
    FEATURE_BUDGET = 6,
    FEATURE_INSN_COUNT = 7,
    FEATURE_SINGLE_STEP = 8,
    FEATURE_BREAKPOINTS = 9,
    FEATURE_EXCEPTION_EXITS = 10,
    FEATURE_MSR_HANDLERS = 11,
    FEATURE_CPUID_HANDLERS = 12,
    FEATURE_DIRTY_LOG = 13,
    FEATURE_PROT_READ = 14,
    FEATURE_PROT_WRITE = 15,
    FEATURE_PROT_EXEC = 16,
    FEATURE_NMI = 17,
    FEATURE_SMM = 18,
    FEATURE_HYPERCALL_HANDLERS = 19,
    FEATURE_DEVICE_TABLES = 20,
    FEATURE_COUNT = 21,
    SUPPORT_REFUSED = 0,
    SUPPORT_APPROXIMATE = 1,
    SUPPORT_EMULATED = 2,
    SUPPORT_NATIVE = 3,
    PAGE_SIZE = 4096,
    MAX_VCPUS = 64,
    TIME_REAL = 0,
    TIME_DETERMINISTIC = 1,
    MSR_FAULT = 0,
    MSR_EXIT = 1,
    CPUID_SUBLEAF = 1,
    CPUID_MAX = 64,
    VM_BACKENDS = 4,
    PROT_R = 1,
    PROT_W = 2,
    PROT_X = 4,
    PROT_RWX = 7,
    BACKING_ANON = 0,
    BACKING_HOST = 1,
    BACKING_FD = 2,
    BACKING_ALIAS = 3,
    REGION_DIRTY_LOG = 1,
    REGION_ROM = 2,
    REGION_SHARED = 4,
    MAX_REGIONS = 1024,
    TRANSLATE_OK = 0,
    TRANSLATE_NOT_PRESENT = 1,
    TRANSLATE_PROTECTION = 2,
    TRANSLATE_RESERVED_BIT = 3,
    TRANSLATE_NON_CANONICAL = 4,
    TRANSLATE_TABLE = 5,
    TRANSLATION_MEMORY = 1,
    DIRTY_CLEAR = 1,
    EXIT_NONE = 0,
    EXIT_PIO = 1,
    EXIT_MMIO = 2,
    EXIT_MSR = 3,
    EXIT_CPUID = 4,
    EXIT_HYPERCALL = 5,
    EXIT_HLT = 6,
    EXIT_EXCEPTION = 7,
    EXIT_MEMORY_FAULT = 8,
    EXIT_DEBUG = 9,
    EXIT_INTERRUPT_WINDOW = 10,
    EXIT_SHUTDOWN = 11,
    EXIT_CANCELLED = 12,
    EXIT_DEADLINE = 13,
    EXIT_BUDGET = 14,
    EXIT_STOPPED = 15,
    EXIT_INTERNAL = 16,
    EXIT_COUNT = 17,
    EXIT_F_PENDING = 1,
    EXIT_F_INEXACT = 2,
    EXIT_F_OVERSHOT = 4,
    MODE_REAL = 0,
    MODE_V86 = 1,
    MODE_PROT16 = 2,
    MODE_PROT32 = 3,
    MODE_COMPAT16 = 4,
    MODE_COMPAT32 = 5,
    MODE_LONG64 = 6,
    ACCESS_READ = 0,
    ACCESS_WRITE = 1,
    ACCESS_EXEC = 2,
    EVENT_NONE = 0,
    EVENT_INTERRUPT = 1,
    EVENT_NMI = 2,
    EVENT_EXCEPTION = 3,
    EVENT_SOFTWARE_INT = 4,
    EVENT_SOFTWARE_EXC = 5,
    EVENT_PRIVILEGED_SW = 6,
    EVENT_HAS_ERROR = 1,
    EVENT_HAS_ADDRESS = 2,
    DEBUG_STEP = 1,
    DEBUG_BREAKPOINT = 2,
    DEBUG_WATCHPOINT = 4,
    HANDLER_PIO = 0,
    HANDLER_MMIO = 1,
    HANDLER_MSR = 2,
    HANDLER_CPUID = 3,
    HANDLER_HYPERCALL = 4,
    HANDLER_EXCEPTION = 5,
    HANDLER_INTACK = 6,
    HANDLER_KINDS = 7,
    HANDLED = 0,
    PASS = 1,
    INJECT = 2,
    STOP = 3,
    HANDLER_HEADER = 1,
    DOORBELL_PIO = 0,
    DOORBELL_MMIO = 1,
    DOORBELL_MATCH = 1,
    MAX_HANDLERS = 1024,
    STATE_GPR = 1,
    STATE_SEGMENTS = 2,
    STATE_CONTROL = 4,
    STATE_DEBUG = 8,
    STATE_MSRS = 16,
    STATE_FPU = 32,
    STATE_XSAVE = 64,
    STATE_EVENTS = 128,
    STATE_ALL = 255,
    STATE_CORE = 159,
    SEGMENT_UNUSABLE = 65536,
    MTRR_VARIABLE = 8,
    XSAVE_MAX = 4096,
    EVENTS_SHADOW_STI = 1,
    EVENTS_SHADOW_MOVSS = 2,
    EVENTS_NMI_BLOCKED = 4,
    EVENTS_NMI_PENDING = 8,
    EVENTS_HALTED = 16,
    EVENTS_WAIT_SIPI = 32,
    EVENTS_SHUTDOWN = 64,
    EVENTS_SMM = 128,
    EVENTS_SMI_PENDING = 256,
    EVENTS_INIT_PENDING = 512,
    EVENTS_SIPI_PENDING = 1024,
    EVENTS_INTR = 2048,
    REG_RAX = 0,
    REG_RCX = 1,
    REG_RDX = 2,
    REG_RBX = 3,
    REG_RSP = 4,
    REG_RBP = 5,
    REG_RSI = 6,
    REG_RDI = 7,
    REG_R8 = 8,
    REG_R9 = 9,
    REG_R10 = 10,
    REG_R11 = 11,
    REG_R12 = 12,
    REG_R13 = 13,
    REG_R14 = 14,
    REG_R15 = 15,
    REG_RIP = 16,
    REG_RFLAGS = 17,
    REG_CR0 = 18,
    REG_CR2 = 19,
    REG_CR3 = 20,
    REG_CR4 = 21,
    REG_CR8 = 22,
    REG_XCR0 = 23,
    REG_EFER = 24,
    REG_APIC_BASE = 25,
    REG_DR0 = 26,
    REG_DR1 = 27,
    REG_DR2 = 28,
    REG_DR3 = 29,
    REG_DR6 = 30,
    REG_DR7 = 31,
    REG_FS_BASE = 32,
    REG_GS_BASE = 33,
    REG_KERNEL_GS_BASE = 34,
    REG_TSC = 35,
    REG_COUNT = 36,
    REG_ES = 64,
    REG_CS = 65,
    REG_SS = 66,
    REG_DS = 67,
    REG_FS = 68,
    REG_GS = 69,
    REG_LDTR = 70,
    REG_TR = 71,
    REG_GDTR = 72,
    REG_IDTR = 73,
    REG_XMM0 = 80,
    REG_YMM0 = 96,
    REG_ST0 = 112,
    VCPU_RESET = 0,
    VCPU_WAIT_SIPI = 1,
    APIC_ID_INDEX = 4294967295,
    RUN_WAIT_IN_HLT = 1,
    RUN_SINGLE_STEP = 2,
    BREAKPOINT_OFF = 0,
    BREAKPOINT_EXEC = 1,
    BREAKPOINT_WRITE = 2,
    BREAKPOINT_ACCESS = 3,
    BREAKPOINTS = 4,
    BOOT_AUTO = 0,
    BOOT_FLAT = 1,
    BOOT_SECTOR = 2,
    BOOT_ELF = 3,
    BOOT_MULTIBOOT = 4,
    BOOT_PVH = 5,
    BOOT_LINUX = 6,
    BOOT_FORMATS = 7,
    MEMORY_RAM = 1,
    MEMORY_RESERVED = 2,
    MEMORY_ACPI = 3,
    MEMORY_NVS = 4,
    BOOT_MEMORY_MAX = 64,
    BOOT_MODULES_MAX = 64,
    ARG_INT = 0,
    ARG_F64 = 1,
    ARG_IN = 2,
    ARG_OUT = 3,
    ARG_INOUT = 4,
    ARGS_MAX = 16,
    CALL_RETURNED = 0,
    CALL_FAULT = 1,
    CALL_LIMIT = 2,
    CALL_STOPPED = 3,
    CALL_EXIT = 4,
    MACHINE_NO_HPET = 1,
    MACHINE_UNCLAIMED_EXITS = 2,
    MACHINE_DIRTY_LOG = 4,
    MACHINE_TIME_HOST = 0xffffffffffffffffULL,
    DISK_READ_ONLY = 1,
    DISK_OVERLAY = 2,
    MACHINE_POWER_OFF = 1,
    MACHINE_RESET = 2,
    MACHINE_DEBUG_EXIT = 3,
    MACHINE_SHUTDOWN = 4,
    MACHINE_TIMEOUT = 5,
    MACHINE_STOPPED = 6,
    MACHINE_EXIT = 7,
    MACHINE_ERROR = 8,
    CONSOLE_VIRTIO = 1,
    HANDOFF_REPEAT = 1,
    LOCKSTEP_EXIT = 0,
    LOCKSTEP_INSN = 1,
    LOCKSTEP_COPY = 1,
    LOCKSTEP_OWN_DEVICES = 2,
    LOCKSTEP_X87_POINTERS = 4,
    LOCKSTEP_REGIONS = 16,
    LOCKSTEP_LIMIT = 1,
    LOCKSTEP_DIFFERENCE = 2,
    LOCKSTEP_HALTED = 3,
    LOCKSTEP_SHUTDOWN = 4,
    LOCKSTEP_STOPPED = 5,
    LOCKSTEP_STUCK = 6,
    LOCKSTEP_RECORD = 1,
    LOCKSTEP_REGISTER = 2,
    LOCKSTEP_MEMORY = 3,
    MOCK_EXIT = 0,
    MOCK_ACCESS = 1,
    MOCK_RETIRE = 2,
    MOCK_SPIN = 3,
    MOCK_FAIL = 4,
    MOCK_NOTHING = 0,
    MOCK_COMPLETED = 1,
    MOCK_FAULTED = 2,
    MOCK_CALL_MEM_UPDATE = 0,
    MOCK_CALL_VCPU_CREATE = 1,
    MOCK_CALL_RUN = 2,
    MOCK_CALL_COMPLETE = 3,
    MOCK_CALL_GET_STATE = 4,
    MOCK_CALL_SET_STATE = 5,
    MOCK_CALL_INJECT = 6,
    MOCK_CALLS = 7,
    RING_DROP = 1,
    RING_CAPACITY_MAX = 16777216,
    WATCH_PASS = 1,
}
return { cdef = cdef, constants = constants }
